//! Wrapping keys on a PKCS#11 token, in the words of the `hsm` crate.

use std::sync::Arc;

use hsm::{Warrant, Wrap as _};
use tokio::sync::mpsc;
use trust::place::{Pkcs11Location, Pkcs11ReadBack, ReadBack};
use trust::request::WrapKeySpec;
use trust::{Approved, Destroy, Generate, Location, Sha256Digest, Template};
use zeroize::Zeroizing;

use super::backend::Pending;
use super::wrap::{GeneratedWrap, WRAP_BATCH, WrappedDek};
use super::{Dek, Error};

/// An item as a worker answers it.
type Item = Result<Zeroizing<Vec<u8>>, hsm::Error>;

/// A batch on its way to the token, and what reads its items there.
pub(super) struct Batch {
    count: usize,
    parts: mpsc::UnboundedReceiver<(usize, Vec<Item>)>,
}

impl Batch {
    /// At most [`WRAP_BATCH`] items, so at most as many parts wait in the channel.
    pub(super) fn submit(
        supervisor: &hsm::Supervisor,
        work: hsm::WrapWork,
        deadline: std::time::Instant,
    ) -> Self {
        let count = work.len();
        let (sender, parts) = mpsc::unbounded_channel();
        // A caller that is gone does not mind.
        let reply: hsm::WrapReply = Arc::new(move |first, items| drop(sender.send((first, items))));
        supervisor.submit_wrap(work, deadline, reply);
        Self { count, parts }
    }

    /// All results in order. `read` makes the value of an item's bytes; `None` where they have no length that it can have.
    fn each<T: Send + 'static>(
        mut self,
        read: fn(&[u8]) -> Option<T>,
    ) -> Pending<Vec<Result<T, Error>>> {
        Box::pin(async move {
            if self.count > WRAP_BATCH {
                let long = || Error::Settings(format!("a batch has at most {WRAP_BATCH} items"));
                return (0..self.count).map(|_| Err(long())).collect();
            }
            // What no part answers, because the supervisor is gone, keeps this.
            let stopped = || Err(Error::Stopped);
            let mut all: Vec<Result<T, Error>> =
                std::iter::repeat_with(stopped).take(self.count).collect();
            while let Some((first, items)) = self.parts.recv().await {
                for (slot, item) in all.iter_mut().skip(first).zip(items) {
                    *slot = item.map_err(Error::Token).and_then(|bytes| {
                        let what = "an item of another length".to_owned();
                        read(&bytes).ok_or(Error::Token(hsm::Error::Protocol { what }))
                    });
                }
            }
            all
        })
    }

    pub(super) fn wrapped(self) -> Pending<Vec<Result<WrappedDek, Error>>> {
        self.each(WrappedDek::from_slice)
    }

    pub(super) fn opened(self) -> Pending<Vec<Result<Dek, Error>>> {
        self.each(|bytes| bytes.try_into().ok().map(Dek::copy_of))
    }
}

pub(super) struct GenerateWrapWarrant {
    pub(super) order: hsm::GenerateWrapOrder,
    pub(super) _approved: Approved<Generate>,
}

impl Warrant<hsm::GenerateWrapOrder> for GenerateWrapWarrant {
    fn order(&self) -> &hsm::GenerateWrapOrder {
        &self.order
    }
}

pub(super) struct DestroyWrapWarrant {
    pub(super) order: hsm::DestroyWrapOrder,
    /// One approval may cover several keys; each warrant is for one of them.
    pub(super) _approved: Arc<Approved<Destroy>>,
}

impl Warrant<hsm::DestroyWrapOrder> for DestroyWrapWarrant {
    fn order(&self) -> &hsm::DestroyWrapOrder {
        &self.order
    }
}

/// The attributes as they were signed. What the custodians were not asked is the unsafe value, so that it is refused.
pub(super) fn template(template: &Template) -> hsm::WrapTemplate {
    hsm::WrapTemplate {
        token: template.token,
        private: template.private,
        sensitive: template.sensitive,
        extractable: template.extractable,
        modifiable: template.modifiable,
        sign: template.sign,
        encrypt: template.encrypt.unwrap_or(true),
        decrypt: template.decrypt,
        wrap: template.wrap.unwrap_or(false),
        unwrap: template.unwrap,
        derive: template.derive,
    }
}

/// What the token does not tell is written down as the unsafe value: a missing answer must not pass for a good one.
pub(super) fn told(generated: hsm::GeneratedWrap, challenge: Sha256Digest) -> GeneratedWrap {
    let told = &generated.attributes;
    let template = Template {
        token: told.token.unwrap_or(false),
        private: told.private.unwrap_or(false),
        sensitive: told.sensitive.unwrap_or(false),
        extractable: told.extractable.unwrap_or(true),
        modifiable: told.modifiable.unwrap_or(true),
        sign: told.sign.unwrap_or(true),
        decrypt: told.decrypt.unwrap_or(true),
        unwrap: told.unwrap.unwrap_or(false),
        derive: told.derive.unwrap_or(true),
        encrypt: Some(told.encrypt.unwrap_or(true)),
        wrap: Some(told.wrap.unwrap_or(false)),
    };
    let key_spec = match generated.value_len {
        Some(32) => WrapKeySpec::Aes256.to_string(),
        Some(bytes) => format!("{bytes} bytes"),
        None => "unknown".to_owned(),
    };
    GeneratedWrap {
        challenge,
        check_value: Sha256Digest::from_bytes(generated.check_value),
        location: Location::Pkcs11(Pkcs11Location {
            cka_id: trust::request::CkaId(generated.cka_id.0),
            label: generated.label,
            token_label: generated.token.label,
            token_serial: generated.token.serial,
        }),
        read_back: ReadBack::Pkcs11(Pkcs11ReadBack {
            always_sensitive: told.always_sensitive,
            key_spec,
            local: told.local,
            never_extractable: told.never_extractable,
            template,
        }),
    }
}
