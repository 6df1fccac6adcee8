//! What is refused before anybody is asked.

use crate::oidc::Settings;

const GOOD: &str = r#"
[[oidc.issuer]]
name = "test"
issuer = "https://id.example"
audience = "chancery"
algorithms = ["ES256", "EdDSA"]
[[oidc.issuer.map]]
claim = "/groups"
value = "signers"
roles = ["signer:records", "operator"]
"#;

fn check(text: &str) -> Result<Settings, String> {
    let settings: Settings = toml::from_str(text).map_err(|error| error.to_string())?;
    settings.validate().map_err(|error| error.to_string())?;
    Ok(settings)
}

fn with(old: &str, new: &str) -> Result<Settings, String> {
    let text = GOOD.replacen(old, new, 1);
    assert_ne!(text, GOOD, "{old}");
    check(&text)
}

#[test]
fn settings_are_read_and_written_alike() {
    let read = check(GOOD).unwrap();
    let issuer = &read.oidc.issuer[0];
    assert_eq!(issuer.clock_skew.as_secs(), 30);
    assert_eq!(issuer.refresh_floor.as_secs(), 30);
    assert_eq!(issuer.principal.as_str(), "/sub");
    let written = toml::to_string(&read).unwrap();
    let again = check(&written).unwrap();
    assert_eq!(toml::to_string(&again).unwrap(), written);
    assert!(check("").unwrap().oidc.issuer.is_empty());
}

#[test]
fn what_would_not_do_what_is_meant_is_refused_at_the_start() {
    for (old, new, said) in [
        ("\"ES256\", ", "\"HS256\", ", "is none of"),
        ("\"ES256\", ", "\"none\", ", "is none of"),
        ("\"ES256\", ", "\"es256\", ", "is none of"),
        ("\"ES256\", \"EdDSA\"", "", "at least one"),
        ("\"ES256\"", "\"EdDSA\"", "each once"),
        ("\"operator\"", "\"root\"", "unknown role"),
        ("\"operator\"", "\"Operator\"", "unknown role"),
        (
            "[\"signer:records\", \"operator\"]",
            "[]",
            "needs a value and roles",
        ),
        ("\"signers\"", "\"\"", "needs a value and roles"),
        ("/groups", "groups", "not a JSON pointer"),
        ("claim", "clam", "unknown field"),
        ("audience", "audiences", "unknown field"),
        ("\"test\"", "\"Test\"", "lower-case"),
        ("\"test\"", "\"a:b\"", "lower-case"),
        ("\"test\"", "\"fifteen-letters\"", "1 to 14"),
        ("\"chancery\"", "\"\"", "printable"),
        ("https://id", "http://id", "expected an https URL"),
        ("https://id.example", "id.example", "expected an https URL"),
        ("audience", "clock_skew = \"121s\"\naudience", "clock_skew"),
        (
            "audience",
            "max_lifetime = \"32d\"\naudience",
            "max_lifetime",
        ),
        (
            "audience",
            "refresh_floor = \"0s\"\naudience",
            "refresh_floor",
        ),
        (
            "audience",
            "refresh_floor = \"6m\"\naudience",
            "refresh_floor",
        ),
        ("audience", "refresh = \"25h\"\naudience", "refresh"),
        ("audience", "keep_keys = \"8d\"\naudience", "keep_keys"),
        ("audience", "time_limit = \"31s\"\naudience", "time_limit"),
        (
            "audience",
            "jwks_uri = \"http://id.example/k\"\naudience",
            "expected an https URL",
        ),
        (
            "audience",
            "jwks_uri = \"http://127.0.0.1/k\"\nca_file = \"ca.pem\"\naudience",
            "https only",
        ),
        ("audience", "token_type = \"\"\naudience", "token_type"),
    ] {
        let error = with(old, new).unwrap_err();
        assert!(error.contains(said), "{new}: {error}");
    }
    let (issuer, map) = GOOD.split_once("[[oidc.issuer.map]]").unwrap();
    assert!(check(issuer).unwrap_err().contains("nobody has a role"));
    let twice = format!("{GOOD}[[oidc.issuer.map]]{map}");
    assert!(check(&twice).unwrap_err().contains("stands there twice"));
    let same = format!("{GOOD}{}", GOOD.replace("https://id", "https://other"));
    assert!(check(&same).unwrap_err().contains("the same name"));
    let same = format!("{GOOD}{}", GOOD.replace("\"test\"", "\"other\""));
    assert!(check(&same).unwrap_err().contains("it stands there twice"));
    let two = GOOD.replace("\"test\"", "\"other\"");
    let two = format!("{GOOD}{}", two.replace("https://id", "https://other"));
    assert_eq!(check(&two).unwrap().oidc.issuer.len(), 2);
    // Where the keys are said, the issuer is a name and nothing else.
    let named = "jwks_uri = \"https://id.example/k\"\naudience";
    let text = GOOD.replacen("audience", named, 1);
    assert!(
        check(&text.replacen("https://id.example\"", "kubernetes/serviceaccount\"", 1)).is_ok()
    );
    for unprintable in ["", "two words", "gr\u{fc}n"] {
        let text = text.replacen("https://id.example\"", &format!("{unprintable}\""), 1);
        assert!(
            check(&text).unwrap_err().contains("printable"),
            "{unprintable}"
        );
    }
}

#[test]
fn relative_files_are_beside_the_configuration() {
    let files = "ca_file = \"ca.pem\"\nbearer_file = \"/run/token\"\naudience";
    let mut settings = with("audience", files).unwrap();
    settings.resolve(std::path::Path::new("/etc/chancery"));
    let issuer = &settings.oidc.issuer[0];
    let shown = |file: &Option<std::path::PathBuf>| file.clone().unwrap().display().to_string();
    assert_eq!(shown(&issuer.ca_file), "/etc/chancery/ca.pem");
    assert_eq!(shown(&issuer.bearer_file), "/run/token");
}
