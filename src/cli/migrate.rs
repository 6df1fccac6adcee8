use std::path::Path;

use serde_json::json;

use super::{World, config, context};
use verify::output::{Failure, Output};

pub async fn run(path: &Path, world: &World, output: &Output) -> Result<(), Failure> {
    let config = config::load(path, world)?;
    let store = context::found(&config, world).await?;
    let applied = store.migrate().await.map_err(Failure::unavailable)?;
    output.result(&json!({"applied": applied}), || match applied {
        0 => "The schema is up to date.".to_owned(),
        n => format!("{n} migration(s) applied."),
    });
    Ok(())
}
