//! What the service waits for before it can serve: its database. A replica that ended because the database is not there
//! yet would be given up by whatever starts it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use base::Trouble;
use keyring::keys::{self, Keys};
use store::{Database, Store};
use tokio::time::sleep;
use trust::error_chain;

use crate::cli::from_keys;
use crate::config::{self, Config};
use crate::telemetry;
use crate::telemetry::traces::Exporting;
use verify::output::{Code, Failure};

/// Between the first attempts; each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long connections to the database may take to close when the service stops.
pub const CLOSING: Duration = Duration::from_secs(3);

/// The database with the schema of this program, and the keys in it. Waits for what can pass by itself or by what
/// somebody does elsewhere; ends with what cannot.
pub async fn open(
    how: &store::Settings,
    database: &Database,
    settings: &keys::Settings,
    waits_for: &(dyn Fn(String) + Send + Sync),
) -> Result<(Store, Arc<Keys>), Failure> {
    let mut trouble = Trouble::default();
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match attempt(how, database, settings).await {
            Ok(opened) => {
                if trouble.is_over() {
                    tracing::info!("the database is available; starting");
                }
                return Ok(opened);
            }
            Err(error) if may_pass(&error) => error_chain(&error),
            Err(keys::Error::Store(error)) => {
                return Err(Failure::unavailable(
                    anyhow!(error).context("cannot open the database"),
                ));
            }
            Err(error) => return Err(from_keys(error)),
        };
        if trouble.is(&error).is_some() {
            tracing::error!(error, "waiting for the database");
        }
        waits_for(format!("waiting for the database: {error}"));
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn attempt(
    how: &store::Settings,
    database: &Database,
    settings: &keys::Settings,
) -> Result<(Store, Arc<Keys>), keys::Error> {
    let store = how.apply(Store::connect(database).await?);
    let opened = async {
        store.schema().await?.check()?;
        Keys::load(store.clone(), settings.clone()).await
    };
    match opened.await {
        Ok(keys) => Ok((store, keys)),
        Err(error) => {
            store.close().await;
            Err(error)
        }
    }
}

/// Nothing of it can be changed by another start of the same program with the same configuration.
fn may_pass(error: &keys::Error) -> bool {
    matches!(error, keys::Error::Store(error) if error.may_pass())
}

/// From here on events are written.
pub fn listen_to(
    config: &Config,
    exporting: Option<&Exporting>,
) -> Result<telemetry::Filter, Failure> {
    let format = match config.telemetry.format {
        config::Format::Json => telemetry::Format::Json,
        config::Format::Text => telemetry::Format::Text,
    };
    let tracer = exporting.map(Exporting::tracer);
    telemetry::init(&config.telemetry.filter, format, tracer)
        .map_err(|error| Failure::new(Code::Usage, error))
}

/// An address that cannot be had is one thing, files that cannot be used are another.
pub fn cannot_serve(error: web::Error) -> Failure {
    let code = match error.is_configuration() {
        true => Code::Usage,
        false => Code::Unavailable,
    };
    Failure::new(code, error)
}
