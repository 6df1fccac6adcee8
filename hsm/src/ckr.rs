//! Return codes: their names, their class, and where on the recovery ladder each begins and ends.
//!
//! The same fault has another code on each token (a deleted key is CKR_OBJECT_HANDLE_INVALID on SoftHSM and
//! CKR_GENERAL_ERROR on kryoptic), so a profile may move any code; what follows is the common case.

use cryptoki::error::{Error as Ck, RvError};
use serde::{Deserialize, Serialize};

use crate::error::{Class, Error};

/// A step of the recovery ladder. The order is the order of climbing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// Close this session, open another.
    Reopen,
    /// Log in if need be and find the key again.
    Rebind,
    /// Park all threads, finalise, initialise, log in; a new generation.
    Reinitialise,
    /// Nothing here helps: the token is busy or the request is at fault.
    Stop,
}

/// What to do about one code: first rung, last rung, and the class if all were in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Treatment {
    pub first: Rung,
    pub last: Rung,
    pub class: Class,
}

impl Treatment {
    /// From the first rung to the last; beyond that the error is told.
    const fn new(first: Rung, last: Rung, class: Class) -> Self {
        Self { first, last, class }
    }
}

/// `CKR_…`, made from the binding's own word for the code.
pub fn name(code: RvError) -> String {
    match code {
        RvError::VendorDefined(value) | RvError::UnknownErrorCode(value) => {
            format!("{value:#010x}")
        }
        known => {
            let mut name = String::from("CKR");
            for letter in format!("{known:?}").chars() {
                if letter.is_ascii_uppercase() {
                    name.push('_');
                }
                name.push(letter.to_ascii_uppercase());
            }
            name
        }
    }
}

/// The common treatment of a code.
pub fn treatment(code: RvError) -> Treatment {
    use Rung::*;
    use RvError::*;
    match code {
        // The session is in a state we did not put it in, or is gone: a new one has no past.
        OperationActive
        | OperationNotInitialized
        | BufferTooSmall
        | SessionHandleInvalid
        | SessionClosed => Treatment::new(Reopen, Reinitialise, Class::SessionLost),
        // A stale handle can also be a live handle of another kind of object, hence the two after GENERAL_ERROR; for
        // them a fresh bind is all that can help.
        ObjectHandleInvalid | UserNotLoggedIn | GeneralError => {
            Treatment::new(Rebind, Reinitialise, Class::LoginRequired)
        }
        KeyHandleInvalid => Treatment::new(Rebind, Reinitialise, Class::Transient),
        KeyTypeInconsistent | KeyFunctionNotPermitted => {
            Treatment::new(Rebind, Rebind, Class::Misconfigured)
        }
        // The connection to the HSM or the whole library is gone: nothing less than a new start of it helps (p11-kit
        // answers every later call with CKR_DEVICE_ERROR, also when the HSM is back).
        DeviceError
        | DeviceRemoved
        | DeviceMemory
        | TokenNotPresent
        | TokenNotRecognized
        | FunctionFailed
        | FunctionCanceled
        | CryptokiNotInitialized
        | SlotIdInvalid
        | HostMemory => Treatment::new(Reinitialise, Reinitialise, Class::Transient),
        // Somebody else holds the sessions; forcing our way in would make it worse.
        SessionCount | FunctionRejected => Treatment::new(Stop, Stop, Class::Transient),
        // Repeating a PIN can lock the token or wipe it.
        PinIncorrect
        | PinInvalid
        | PinLenRange
        | PinExpired
        | PinLocked
        | UserPinNotInitialized
        | PinTooWeak
        | UserTypeInvalid
        | UserAnotherAlreadyLoggedIn
        | UserTooManyTypes => Treatment::new(Stop, Stop, Class::Misconfigured),
        // The token has understood and cannot: it will say so again.
        MechanismInvalid
        | MechanismParamInvalid
        | FunctionNotSupported
        | KeySizeRange
        | DataInvalid
        | DataLenRange
        | CurveNotSupported
        | AttributeTypeInvalid
        | AttributeValueInvalid
        | AttributeReadOnly
        | TemplateIncomplete
        | TemplateInconsistent
        | ActionProhibited
        | DomainParamsInvalid
        | TokenWriteProtected
        | SessionReadOnly => Treatment::new(Stop, Stop, Class::Unsupported),
        // Vendor codes and everything rare: try the whole ladder once.
        _ => Treatment::new(Rebind, Reinitialise, Class::Transient),
    }
}

/// Turns an error of the binding into ours, keeping function and code.
pub fn error(error: &Ck, class: Option<Class>) -> Error {
    match error {
        Ck::Pkcs11(code, function) => Error::Token {
            call: format!("C_{function:?}"),
            code: name(*code),
            class: class.unwrap_or(treatment(*code).class),
        },
        other => Error::Token {
            call: "the library".to_owned(),
            code: other.to_string(),
            class: class.unwrap_or(Class::Unsupported),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_names_of_the_standard() {
        assert_eq!(name(RvError::PinIncorrect), "CKR_PIN_INCORRECT");
        assert_eq!(
            name(RvError::OperationNotInitialized),
            "CKR_OPERATION_NOT_INITIALIZED"
        );
        assert_eq!(
            name(RvError::UserPinNotInitialized),
            "CKR_USER_PIN_NOT_INITIALIZED"
        );
        assert_eq!(name(RvError::VendorDefined(0x8000_0a01)), "0x80000a01");
    }

    #[test]
    fn no_pin_error_is_ever_retried() {
        use RvError::*;
        for code in [PinIncorrect, PinLocked, PinExpired, PinInvalid, PinLenRange] {
            let treatment = treatment(code);
            assert_eq!(
                (treatment.first, treatment.last),
                (Rung::Stop, Rung::Stop),
                "{code:?}"
            );
        }
    }
}
