//! A ceremony in which two of three signatures are by passkey: of a software authenticator and its browser, by other
//! people's hands, which know nothing of Chancery.

use anyhow::{Context as _, anyhow};
use passkey_authenticator::{Authenticator, UiHint, UserCheck, UserValidationMethod};
use passkey_client::{Client, DefaultClientData};
use passkey_crypto::rust_crypto::RustCryptoBackend;
use passkey_types::Passkey;
use passkey_types::ctap2::{Aaguid, Ctap2Error};
use passkey_types::webauthn::{CredentialCreationOptions, CredentialRequestOptions};
use serde_json::{Value, json};
use testkit::custodian::Custodian;
use testkit::installation::text;
use url::Url;

use super::RING;
use super::far::Told;
use super::stage::Stage;
use verify::output::{Failure, Output};

/// The page on which custodians would approve, and the relying party in the roster.
const PAGE: &str = "https://seal.example.com";
const RP_ID: &str = "seal.example.com";

/// Who sees the ceremony.
const WITNESS: &str = "wendy";

/// Somebody who is there, and is asked for a finger.
struct Person;

#[async_trait::async_trait]
impl UserValidationMethod for Person {
    type PasskeyItem = Passkey;

    async fn check_user<'a>(
        &self,
        _hint: UiHint<'a, Passkey>,
        presence: bool,
        verification: bool,
    ) -> Result<UserCheck, Ctap2Error> {
        Ok(UserCheck {
            presence,
            verification,
        })
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }
}

/// A browser on the page, with an authenticator that counts its signatures and has at most one credential.
#[derive(Clone)]
struct Browser {
    credential: Option<Passkey>,
    page: Url,
}

impl Browser {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            credential: None,
            page: PAGE.parse().context("the page")?,
        })
    }

    fn authenticator(&self) -> Authenticator<Option<Passkey>, Person, RustCryptoBackend> {
        let (model, credential) = (Aaguid::new_empty(), self.credential.clone());
        let mut made = Authenticator::new(model, credential, Person, RustCryptoBackend);
        made.set_make_credentials_with_signature_counter(true);
        made
    }

    /// `navigator.credentials.create()` with what the service gives for it, and `toJSON()` of the new credential. Of the
    /// algorithms it has this one alone, named as in COSE.
    async fn create(&mut self, options: &Value, algorithm: i64) -> Result<Value, Failure> {
        let mut options = options.clone();
        options["pubKeyCredParams"] = json!([{"type": "public-key", "alg": algorithm}]);
        let options: CredentialCreationOptions =
            serde_json::from_value(json!({ "publicKey": options })).context("the options")?;
        let mut client = Client::new(self.authenticator());
        let made = client.register(&self.page, options, DefaultClientData);
        let made = made.await.map_err(|e| anyhow!("no credential: {e:?}"))?;
        self.credential.clone_from(client.authenticator().store());
        Ok(serde_json::to_value(made).context("the credential")?)
    }

    /// `navigator.credentials.get()` with what the service gives for it, and `toJSON()` of the answer.
    async fn get(&mut self, options: &Value) -> Result<Value, Failure> {
        let options: CredentialRequestOptions =
            serde_json::from_value(json!({ "publicKey": options })).context("the options")?;
        let mut client = Client::new(self.authenticator());
        let answer = client.authenticate(&self.page, options, DefaultClientData);
        let answer = answer.await.map_err(|e| anyhow!("no assertion: {e:?}"))?;
        self.credential.clone_from(client.authenticator().store());
        Ok(serde_json::to_value(answer).context("the answer")?)
    }
}

/// Verifies a file by the second verifier; none where it is not there.
type SecondVerifier<'a> = &'a dyn Fn(&str) -> Result<Option<String>, Failure>;

/// The roster and the ring of the part before: Ada, Berta, Carla and Fanny are custodians.
pub async fn play(
    stage: &Stage,
    output: &Output,
    (url, genesis): (&str, &str),
    second_verifier: SecondVerifier<'_>,
) -> Result<[Told; 2], Failure> {
    let act = |text: &str| output.remark(format!("\n== {text}"));
    let far = ["--url", url, "--genesis", genesis];
    let anybody = |words: &[&str]| stage.chancery(&[words, &far].concat());
    let by = |who: &str, words: &[&str]| anybody(&[words, &["--key", who]].concat());

    act(
        "Carla and Fanny get passkeys: three sign the roster by SSH key, and each passkey signs it for itself",
    );
    let (mut carla, mut fanny) = (Browser::new()?, Browser::new()?);
    for (who, browser, algorithm) in [("carla", &mut carla, ES256), ("fanny", &mut fanny, EDDSA)] {
        let words = ["trust", "new-passkey", "--member", who, "--rp-id", RP_ID];
        let options = anybody(&words)?;
        let registered = browser.create(&options, algorithm).await?;
        output.remark(format!(
            "(on {PAGE}: navigator.credentials.create() for {who})"
        ));
        stage.write(&format!("{who}.registration"), registered.to_string())?;
    }
    output.remark("$ ssh-keygen -t ed25519 -C wendy -f wendy");
    Custodian::new(stage.directory(), WITNESS, "ed25519")?;
    let words = [
        "trust",
        "new-roster",
        "--out",
        "passkey-roster",
        "--add",
        "wendy=wendy.pub,witness",
    ];
    let party = ["--rp-id", RP_ID, "--origin", PAGE];
    let added = [
        "--add-passkey",
        "carla=carla.registration",
        "--add-passkey",
        "fanny=fanny.registration",
    ];
    let filed = by("ada", &[&words[..], &party, &added].concat())?;
    let roster = text(&filed, "statement")?;
    for who in ["berta", "carla"] {
        by(who, &["trust", "sign", &roster])?;
    }
    by(WITNESS, &["trust", "sign", "passkey-roster"])?;
    let mut enrolled = Value::Null;
    for (who, browser) in [("carla", &mut carla), ("fanny", &mut fanny)] {
        let answer = asked(browser, stage, &far, ("passkey-roster", who), output).await?;
        let registration = format!("{who}.registration");
        let sign = ["trust", "sign", "passkey-roster", "--signature", &answer];
        enrolled = anybody(&[&sign[..], &["--attestation", &registration]].concat())?;
    }

    act("A key is approved by one SSH key and two passkeys; passkeys alone are not enough");
    let draft = [
        "ceremony",
        "new",
        "generate",
        "--ring",
        RING,
        "--proposer",
        "berta",
    ];
    let more = ["--reason", "the next key", "--out", "passkeys.request"];
    stage.chancery(&[&draft[..], &more].concat())?;
    let proposed = by("berta", &["ceremony", "propose", "passkeys.request"])?;
    let id = text(&proposed, "ceremony")?;
    stage.chancery(&["ceremony", "request", &id, "--out", "passkeys.bytes"])?;
    let copy = carla.clone();
    for (who, browser) in [("carla", &mut carla), ("fanny", &mut fanny)] {
        let answer = asked(browser, stage, &far, ("passkeys.bytes", who), output).await?;
        anybody(&["ceremony", "approve", &id, "--signature", &answer])?;
    }
    let by_passkeys = stage.chancery(&["ceremony", "show", &id])?;
    by("ada", &["ceremony", "approve", &id])?;
    let executed = stage.chancery(&["executor", "--once"])?;
    let mut all = executed["executed"].as_array().into_iter().flatten();
    let own = all.find(|each| each["ceremony"] == id.as_str());
    let kid = own.and_then(|own| own["kids"][0].as_str());
    let kid = kid.ok_or_else(|| anyhow!("no key was made"))?.to_owned();
    stage.chancery(&["ceremony", "acceptance", &id, "--out", "passkeys.result"])?;

    act("Somebody has copied Carla's passkey: its counter did not rise, and it signs nothing");
    let mut thief = copy;
    let answer = asked(
        &mut thief,
        stage,
        &far,
        ("passkeys.result", "carla"),
        output,
    )
    .await?;
    let accept = ["ceremony", "accept", &id, "--signature", &answer];
    let said = stage.said(&[&accept[..], &far].concat())?;
    let cloned = said["error"]["message"].as_str();
    let cloned = cloned.ok_or_else(|| anyhow!("the copy of a passkey signed"))?;

    for (who, browser) in [("carla", &mut carla), ("fanny", &mut fanny)] {
        let answer = asked(browser, stage, &far, ("passkeys.result", who), output).await?;
        anybody(&["ceremony", "accept", &id, "--signature", &answer])?;
    }
    by("ada", &["ceremony", "accept", &id, "--kid", &kid])?;

    act("The transcript, verified offline by both verifiers");
    let file = "passkeys.transcript";
    stage.chancery(&["ceremony", "transcript", &id, "--out", file])?;
    stage.chancery(&["ceremony", "verify", file, "--genesis", genesis])?;
    let second = second_verifier(file)?;
    let tampered = stage.tampered(file, genesis)?;
    let second_tampered = second_verifier("tampered.transcript")?;
    let printed = printed(stage, (file, genesis), output)?;
    let summary = json!({
        "roster": enrolled["state"], "by_passkeys_alone": by_passkeys["standing"], "kid": kid,
        "copied_passkey": cloned, "second_verifier": second,
        "tampered_transcript": tampered, "tampered_by_the_second": second_tampered,
    });
    let good = enrolled["state"] == "effective"
        && by_passkeys["standing"] == "waiting for 1 more approval(s)"
        && tampered == "refused"
        && second.as_deref() != Some("refused")
        && second_tampered.as_deref() != Some("verified");
    let told = Told {
        words: format!(
            "{kid} approved and accepted by one SSH key and two passkeys; by passkeys alone: {}; a copied passkey: {cloned}; both verifiers: {}",
            by_passkeys["standing"].as_str().unwrap_or("?"),
            if good { "as it has to be" } else { "WRONG" },
        ),
        good,
        shown: summary,
    };
    Ok([told, printed])
}

/// A witness attests the transcript, and its record is written for paper.
fn printed(stage: &Stage, (file, genesis): (&str, &str), output: &Output) -> Result<Told, Failure> {
    output.remark(
        "\n== Wendy, a witness, was there: she attests the transcript, and its record is printed on two sheets",
    );
    let attest = ["ceremony", "attest", file, "--genesis", genesis];
    let seen = ["--text", "the passkeys were in two hands"];
    let own = ["--key", WITNESS, "--out", "passkeys.attestations"];
    stage.chancery(&[&attest[..], &seen, &own].concat())?;
    let record = ["ceremony", "record", file, "--genesis", genesis];
    let beside = ["--attestations", "passkeys.attestations"];
    let page = ["--out", "passkeys.html"];
    let written = stage.chancery(&[&record[..], &beside, &page].concat())?;
    let html = std::fs::read_to_string(stage.directory().join("passkeys.html"))?;
    let good = html.contains("wendy attests this transcript") && written["sheets"] == 2;
    Ok(Told {
        words: format!(
            "{} sheets in passkeys.html, attested by {WITNESS}: {}",
            written["sheets"],
            if good { "as it has to be" } else { "WRONG" },
        ),
        good,
        shown: json!({"file": "passkeys.html", "sheets": written["sheets"], "witness": WITNESS}),
    })
}

/// Algorithms of COSE: ECDSA on P-256 with SHA-256, and EdDSA.
const ES256: i64 = -7;
const EDDSA: i64 = -8;

/// Has a member's browser sign a file, and returns the name of the file with its answer.
async fn asked(
    browser: &mut Browser,
    stage: &Stage,
    far: &[&str],
    (file, who): (&str, &str),
    output: &Output,
) -> Result<String, Failure> {
    let words = ["trust", "passkey-options", file, "--member", who];
    let options = stage.chancery(&[&words[..], far].concat())?;
    output.remark(format!("(on {PAGE}: navigator.credentials.get() by {who})"));
    let answer = browser.get(&options).await?;
    let name = format!("{who}.{file}.answer");
    stage.write(&name, answer.to_string())?;
    Ok(name)
}
