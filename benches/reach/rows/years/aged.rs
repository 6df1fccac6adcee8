//! Signatures of a key that is archived by now: genuine ones, so that a verdict on them reads and tallies everything.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::http::{Client, request};
use crate::installation::{ES256, Installation, PS256};
use crate::rows::signer::{BATCH, Signer};

/// The ring of the key.
const RING: &str = "aged";
const BATCHES: usize = 2;

pub struct Aged {
    /// Of a signer of all rings who may read the trail.
    pub access_token: String,
    /// Bodies of `POST /v1/verify`.
    pub bodies: Vec<String>,
}

impl Aged {
    /// A key's whole life, by the ordinary commands.
    pub fn new(installation: &mut Installation) -> Result<Self> {
        installation.ring(RING, "ES256 P-256")?;
        let kid = installation.ceremony(RING)?;
        installation.ceremony(RING)?;
        let signers = [ES256, PS256, RING].map(|ring| format!("signer:{ring}"));
        let mut roles: Vec<&str> = signers.iter().map(String::as_str).collect();
        roles.push("auditor");
        installation.access_token = installation.grant("bench-years", &roles)?;
        installation.rotate_when_safe(RING)?;
        // A start knows the key and the token whatever was read before.
        installation.stop();
        installation.serve(&BTreeMap::new())?;
        let bodies = sign(installation)?;
        installation.rotate_when_safe(RING)?;
        installation.when_allowed(&["ring", "retire", RING, "--kid", &kid, "--apply"])?;
        installation.hold(&["ring", "archive", RING, "--kid", &kid, "--apply"])?;
        let aged = Self {
            access_token: installation.access_token.clone(),
            bodies,
        };
        installation.stop();
        installation.serve(&BTreeMap::new())?;
        aged.confirm(installation)?;
        Ok(aged)
    }

    pub fn requests(&self) -> impl Iterator<Item = Vec<u8>> {
        let token = Some(self.access_token.as_str());
        let bodies = self.bodies.iter();
        bodies.map(move |body| request("POST", "/v1/verify", token, body))
    }

    /// The verdict is the one of an archived key and not a quick refusal.
    pub fn confirm(&self, installation: &Installation) -> Result<()> {
        let mut client = Client::connect(installation.api)?;
        for request in self.requests().take(1) {
            let (status, body) = client.send(&request)?;
            let answer: Value = serde_json::from_slice(body)?;
            ensure!(
                status == 200 && answer["verdict"] == "VALID_RETIRED_KEY",
                "a signature of an archived key: {status} {answer}"
            );
        }
        Ok(())
    }
}

fn sign(installation: &Installation) -> Result<Vec<String>> {
    let mut client = Client::connect(installation.api)?;
    let mut signer = Signer::new(installation, RING, BATCH);
    let mut bodies = Vec::new();
    for _ in 0..BATCHES {
        let (status, body) = client.send(signer.bytes())?;
        let answer: Value = serde_json::from_slice(body)?;
        let items = answer["items"].as_array().into_iter().flatten();
        let before = bodies.len();
        bodies.extend(
            items
                .filter(|item| item["jws"].is_string())
                .map(|item| json!({"jws": item["jws"]}).to_string()),
        );
        ensure!(
            status == 200 && bodies.len() == before + BATCH,
            "{status}: {answer}"
        );
    }
    Ok(bodies)
}
