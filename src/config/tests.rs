use super::*;

const MINIMAL: &str = r#"
profile = "production"
[service]
name = "chancery"
environment = "production"
issuer = "https://keys.example.org"
[store]
url = "sqlite:chancery.db"
[token]
uri = "pkcs11:token=seal?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin"
[trust]
genesis = "0000000000000000000000000000000000000000000000000000000000000000"
"#;

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, Error> {
    Config::from_table(
        text.parse().expect("TOML"),
        environment
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
        Path::new("/etc/chancery"),
    )
}

#[test]
fn defaults_are_the_safe_ones() {
    let config = load(MINIMAL, &[]).expect("valid");
    assert_eq!(config.publication.publish_safety.as_secs(), 86_400);
    assert_eq!(config.publication.max_age().as_secs(), 300);
    assert!(config.http.listen.ip().is_loopback());
    assert_eq!(config.store.url, "sqlite:/etc/chancery/chancery.db");
}

#[test]
fn the_environment_overrides_the_file() {
    let config = load(
        MINIMAL,
        &[
            ("CHANCERY_HTTP__LISTEN", "127.0.0.1:1"),
            ("CHANCERY_PUBLICATION__PUBLISH_SAFETY", "48h"),
            ("CHANCERY_HTTP__BATCH_LIMIT", "7"),
            ("HOME", "/root"),
            ("CHANCERY_CONFIG", "elsewhere.toml"),
        ],
    )
    .expect("valid");
    assert_eq!(config.http.listen.port(), 1);
    assert_eq!(config.http.batch_limit, 7);
    assert_eq!(config.publication.publish_safety.as_secs(), 172_800);
}

#[test]
fn unknown_settings_are_errors_wherever_they_come_from() {
    assert!(matches!(
        load(&format!("{MINIMAL}\n[signing]\nx = 1"), &[]),
        Err(Error::Shape(_))
    ));
    assert!(load(MINIMAL, &[("CHANCERY_HTTP__LISTNE", "127.0.0.1:1")]).is_err());
}

#[test]
fn production_refuses_short_publication_and_inline_passwords() {
    let short = [("CHANCERY_PUBLICATION__PUBLISH_SAFETY", "5s")];
    assert!(load(MINIMAL, &short).is_err());
    let demonstration = MINIMAL.replace("\"production\"\n[", "\"demonstration\"\n[");
    assert!(load(&demonstration, &short).is_ok());
    assert!(load(MINIMAL, &[("CHANCERY_STORE__PASSWORD", "hunter2")]).is_err());
    let in_url = MINIMAL.replace("sqlite:chancery.db", "postgres://u:p@127.0.0.1/db");
    assert!(load(&in_url, &[]).is_err());
}

#[test]
fn a_pin_in_the_configuration_is_refused_without_being_shown() {
    let text = MINIMAL.replace("pin-source=file:/run/pin", "pin-value=123456");
    let error = load(&text, &[]).expect_err("refused").to_string();
    assert!(error.contains("pin-source") && !error.contains("123456"));
}

#[test]
fn printing_never_shows_an_inline_secret() {
    let demonstration = MINIMAL.replace("\"production\"\n[", "\"demonstration\"\n[");
    let config = load(&demonstration, &[("CHANCERY_STORE__PASSWORD", "hunter2")]).expect("valid");
    let printed = toml::to_string(&config).expect("printable");
    assert!(!printed.contains("hunter2") && printed.contains("[redacted]"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn authorities_stand_beside_the_configuration_and_algorithms_are_known() {
    let section = "[verification]
timestamp_authorities = [\"tsa.pem\", \"/etc/ssl/tsa.pem\"]
withdrawn = { RS256 = \"2035-01-01T00:00:00.000Z\" }
";
    let text = MINIMAL.to_owned() + section;
    let verification = load(&text, &[]).expect("valid").verification;
    let paths = ["/etc/chancery/tsa.pem", "/etc/ssl/tsa.pem"].map(PathBuf::from);
    assert_eq!(verification.timestamp_authorities, paths);
    assert_eq!(verification.withdrawn.len(), 1);
    for bad in [
        "{ RS1 = \"2035-01-01T00:00:00.000Z\" }",
        "{ RS256 = \"2035\" }",
    ] {
        let environment = [("CHANCERY_VERIFICATION__WITHDRAWN", bad)];
        assert!(load(MINIMAL, &environment).is_err(), "{bad}");
    }
}
