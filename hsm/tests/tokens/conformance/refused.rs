//! What is refused, and that nothing changed by it.

use hsm::{Administer, Error, KeySpec, Power, PrivateTemplate, Scheme};

use crate::support::*;

#[test]
fn an_existing_id_is_never_generated_again() {
    let token = Token::fresh();
    let executor = token.executor();
    let order = order_for(&executor, KeySpec::P256);
    let born = executor.generate(Permitted(order.clone())).unwrap();
    let again = executor.generate(Permitted(order.clone()));
    assert_eq!(
        again,
        Err(Error::AlreadyExists {
            cka_id: order.cka_id,
            count: 2
        })
    );
    assert_eq!(executor.read_back(order.cka_id).unwrap(), born);
}

#[test]
fn only_the_signing_template_is_carried_out() {
    let token = Token::fresh();
    let executor = token.executor();
    let before = executor.list().unwrap().len();
    let good = PrivateTemplate::SIGNING;
    for template in [
        PrivateTemplate {
            extractable: true,
            ..good
        },
        PrivateTemplate {
            sensitive: false,
            ..good
        },
        PrivateTemplate {
            private: false,
            ..good
        },
        PrivateTemplate {
            token: false,
            ..good
        },
        PrivateTemplate {
            modifiable: true,
            ..good
        },
        PrivateTemplate {
            decrypt: true,
            ..good
        },
        PrivateTemplate {
            unwrap: true,
            ..good
        },
        PrivateTemplate {
            derive: true,
            ..good
        },
        PrivateTemplate {
            sign: false,
            ..good
        },
    ] {
        let order = hsm::GenerateOrder {
            template,
            ..order_for(&executor, KeySpec::P256)
        };
        assert_eq!(
            executor.generate(Permitted(order)),
            Err(Error::TemplateRefused)
        );
    }
    assert_eq!(executor.list().unwrap().len(), before);
}

#[test]
fn an_order_for_another_token_label_or_scheme_is_refused() {
    let token = Token::fresh();
    let executor = token.executor();
    let before = executor.list().unwrap().len();
    let order = order_for(&executor, KeySpec::P256);
    let other = hsm::GenerateOrder {
        token_serial: "not this one".to_owned(),
        ..order.clone()
    };
    assert!(matches!(
        executor.generate(Permitted(other)),
        Err(Error::OtherToken { .. })
    ));
    let other = hsm::GenerateOrder {
        token_label: "not this one".to_owned(),
        ..order.clone()
    };
    assert!(matches!(
        executor.generate(Permitted(other)),
        Err(Error::OtherToken { .. })
    ));
    for label in [
        String::new(),
        "x".repeat(65),
        "tab\t".to_owned(),
        "ü".to_owned(),
    ] {
        let bad = hsm::GenerateOrder {
            label,
            ..order.clone()
        };
        assert!(matches!(
            executor.generate(Permitted(bad)),
            Err(Error::BadLabel { .. })
        ));
    }
    let bad = hsm::GenerateOrder {
        scheme: Scheme::EcdsaP384Sha384,
        ..order.clone()
    };
    assert!(matches!(
        executor.generate(Permitted(bad)),
        Err(Error::BadKeyRef { .. })
    ));
    assert_eq!(executor.list().unwrap().len(), before);
    executor.generate(Permitted(order)).unwrap();
}

#[test]
fn destroying_compares_the_public_key_first() {
    let token = Token::fresh();
    let executor = token.executor();
    let key = new_key(&executor, KeySpec::P256);
    let other = new_key(&executor, KeySpec::P256);
    let mut order = destroy_order(&executor, &key);
    order.spki = other.spki.clone();
    assert_eq!(
        executor.destroy(Permitted(order)),
        Err(Error::WrongKey { cka_id: key.cka_id })
    );
    assert_eq!(executor.find(key.cka_id).unwrap().len(), 2);
}

#[test]
fn who_may_only_use_keys_cannot_change_them() {
    let token = Token::fresh();
    let executor = token.executor();
    let key = new_key(&executor, KeySpec::P256);
    let signer = started(token.config(), Power::Use);
    let order = order_for(&executor, KeySpec::P256);
    assert_eq!(signer.generate(Permitted(order)), Err(Error::Powerless));
    let order = destroy_order(&executor, &key);
    assert_eq!(signer.destroy(Permitted(order)), Err(Error::Powerless));
    assert_eq!(
        signer.find(key.cka_id).unwrap().len(),
        2,
        "looking is allowed"
    );
}
