//! What is exported as a bill of materials is one, by the schema that CycloneDX publishes (PyPI `cyclonedx-python-lib`).

use std::fs;
use std::process::Command;

use crate::support::installation::{Installation, text};
use crate::support::process::{repository, run};

const ASSETS: &str = "asset,key_type,purpose,owner,storage,version,rotated_at,expires_at,labels,state
external/partner/eu,api_key,\"calls, to the partner\",team-a,wrapped,3,2026-11-01T00:00:00.000Z,,env=prod;tier=1,
external/shop,tls_certificate,,,files,1,2026-10-01T00:00:00.000Z,2026-12-20T00:00:00.000Z,,
external/mesh,mesh_certificate,,,mesh,,2026-10-01T00:00:00.000Z,,,
external/client,client_certificate,,,issued,,2026-10-01T00:00:00.000Z,,,retired
external/rows,database_encryption,,,hsm,,2026-10-01T00:00:00.000Z,,,
external/hooks,webhook_secret,,,wrapped,,2026-01-01T00:00:00.000Z,,,retired
";

#[test]
fn bills_of_materials_are_valid_by_the_schemas_of_cyclonedx() {
    let installation = Installation::new();
    installation.open_ring("integrity");
    installation.create_ring("unused", &[]);
    let file = installation.file("assets.csv");
    fs::write(&file, ASSETS).expect("written");
    installation.chancery(["asset", "import", text(&file), "--apply"]);
    let python = repository("target/interop/python/bin/python");
    let script = repository("tests/interop/cbom_validator.py");
    for version in ["1.6", "1.7"] {
        let out = installation.file(&format!("cbom-{version}.json"));
        let format = format!("cbom-{version}");
        installation.chancery(["asset", "export", "--format", &format, "--out", text(&out)]);
        let checked = |version: &str| {
            let mut check = Command::new(&python);
            run(check.arg(&script).args([version, text(&out)]), b"")
        };
        let checked_so = checked(version);
        assert_eq!(checked_so.code, Some(0), "{version}: {checked_so:?}");
        // It would see what is wrong.
        let bom = fs::read_to_string(&out).expect("read");
        let wrong = bom.replace("\"pre-activation\"", "\"unborn\"");
        assert_ne!(bom, wrong);
        fs::write(&out, wrong).expect("written");
        assert_eq!(checked(version).code, Some(1), "{version}");
    }
}
