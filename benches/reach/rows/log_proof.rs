//! One proof in a log of ten million leaves.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use rustix::fs::Advice;
use trust::Sha256Digest;
use trust::tlog::merkle::{leaf_hash, verify_inclusion};
use trust::tlog::tile::{self, Builder, Resource, TileId};

use crate::arguments::Arguments;
use crate::backlog::{Aside, Backlog as _};
use crate::http::{Client, request};
use crate::installation::Installation;
use crate::plot::short;
use crate::report::{Figure, Reach, Section, table};
use crate::stats::{median, percentile};

/// A multiple of 256, so that no bundle is open at the end.
const LEAVES: u64 = 10_000_128;
/// Leaves that are asked for. Only their rows, and the tiles that their proofs and the tree's edge need, exist.
const ASKED: u64 = 200;

/// Milliseconds of answers, repetition by repetition.
#[derive(Default)]
pub struct Asked {
    pub p50: Vec<f64>,
    pub p99: Vec<f64>,
}

impl Asked {
    pub fn add(&mut self, mut times: Vec<f64>) {
        self.p50.push(percentile(&mut times, 50.0));
        self.p99.push(percentile(&mut times, 99.0));
    }

    pub fn row(&self, name: &str) -> Vec<String> {
        vec![
            name.to_owned(),
            short(median(&self.p50)),
            short(median(&self.p99)),
        ]
    }
}

/// Receipts of these leaves, one after the other on one connection.
pub fn ask(installation: &Installation, places: &[i64]) -> Result<Vec<f64>> {
    let mut client = Client::connect(installation.api)?;
    // The connection's own start is nobody's proof.
    client.send(&request("GET", "/log/checkpoint", None, ""))?;
    let mut times = Vec::with_capacity(places.len());
    for place in places {
        let request = request("GET", &format!("/v1/receipts/{place}"), None, "");
        let started = Instant::now();
        let (status, body) = client.send(&request)?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        if status != 200 {
            bail!(
                "receipt {place}: {status} {}",
                String::from_utf8_lossy(body)
            );
        }
    }
    Ok(times)
}

pub fn measure(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    let leaves = if arguments.quick {
        LEAVES / 256 / 10 * 256
    } else {
        LEAVES
    };
    let aside = Aside::new(installation, "tiles")?;
    fs::remove_dir_all(aside.tiles())?;
    let least = aside.size()? as u64;
    let places: Vec<u64> = (0..ASKED)
        .map(|n| least + (n * 7_919 + 13) * 50_021 % (leaves - least))
        .collect();
    let asked: HashSet<u64> = places.iter().copied().collect();
    let mut wanted: HashSet<TileId> = tile::tiles_for_root(leaves).into_iter().collect();
    wanted.extend(
        places
            .iter()
            .flat_map(|place| tile::tiles_for_inclusion(*place, leaves)),
    );

    let started = Instant::now();
    let body = |place: u64| format!("{{\"kind\":\"sign\",\"place\":{place},\"v\":1}}");
    let mut builder = Builder::new();
    let mut files = Vec::new();
    for place in 0..leaves {
        let hash = match asked.contains(&place) {
            true => leaf_hash(body(place).as_bytes()),
            // Nobody asks what is in it.
            false => {
                let mut bytes = [7; 32];
                bytes[..8].copy_from_slice(&place.to_be_bytes());
                Sha256Digest::from_bytes(bytes)
            }
        };
        builder.push(hash);
        if place % 65_536 == 65_535 || place + 1 == leaves {
            for (tile, bytes) in builder.take_tiles() {
                if wanted.contains(&tile) {
                    let file = aside.tiles().join(Resource::Tile(tile).path());
                    fs::create_dir_all(file.parent().context("a directory")?)?;
                    fs::write(&file, bytes)?;
                    File::open(&file)?.sync_all()?;
                    files.push(file);
                }
            }
        }
    }
    let built = started.elapsed().as_secs_f64();
    let root = builder.root();
    enter(&aside, leaves, root, &places, body)?;

    let places: Vec<i64> = places.iter().map(|place| *place as i64).collect();
    let (mut cold, mut warm, mut pure) = (Asked::default(), Asked::default(), Asked::default());
    for _ in 0..arguments.repetitions() {
        installation.stop();
        installation.serve(&aside.environment)?;
        wait_for_checkpoint(installation, leaves)?;
        forget(&files)?;
        cold.add(ask(installation, &places)?);
        warm.add(ask(installation, &places)?);
        forget(&files)?;
        pure.add(prove(aside.tiles(), leaves, root, &places, body)?);
    }
    installation.stop();
    Ok(Section {
        title: "A proof in ten million leaves",
        text: vec![
            format!(
                "A tree of {leaves} leaves (built here in {} s), its tiles in a directory; {ASKED} receipts spread \
                 over it, asked one by one over the API: the leaf, its checkpoint and three tiles are read, the proof \
                 is computed and verified against the leaf. Cold: neither the service nor the kernel has the tiles in \
                 memory. Warm: the same again. The last row is the proof alone, from files that the kernel has \
                 forgotten.",
                short(built)
            ),
            table(
                &["ms", "p50", "p99"],
                &[
                    cold.row("receipt over the API, cold"),
                    warm.row("receipt over the API, warm"),
                    pure.row("three tiles read, proof computed and verified"),
                ],
            ),
        ],
        figures: vec![
            Figure::new("log-proof-ms", "ms", Reach::AtMost(1.0), &cold.p50),
            Figure::new("log-proof-warm-ms", "ms", Reach::None, &warm.p50),
            Figure::new("log-proof-alone-ms", "ms", Reach::None, &pure.p50),
        ],
        plots: Vec::new(),
    })
}

/// The database as it would be: the rows that are asked for, the sizes, the root. The service signs the checkpoint.
fn enter(
    aside: &Aside,
    size: u64,
    root: Sha256Digest,
    places: &[u64],
    body: impl Fn(u64) -> String,
) -> Result<()> {
    let mut places = places.to_vec();
    places.sort_unstable();
    places.dedup();
    aside.with(async |database| {
        sqlx::raw_sql("BEGIN IMMEDIATE; DROP TRIGGER log_leaf_contiguous;").execute(&mut *database).await?;
        sqlx::query("UPDATE log_head SET size = $1").bind(size as i64).execute(&mut *database).await?;
        for place in places {
            sqlx::query(
                "INSERT INTO log_leaf (idx, time, kind, ring, kid, sig_hash, body)
                 SELECT $1, unixepoch() * 1000, 'sign', 'records', MIN(kid), lower(hex(randomblob(32))), $2
                 FROM signing_key",
            )
            .bind(place as i64)
            .bind(body(place))
            .execute(&mut *database)
            .await?;
        }
        sqlx::query("UPDATE log_tree SET size = $1, root = $2, clock = unixepoch() * 1000")
            .bind(size as i64)
            .bind(root.to_string())
            .execute(&mut *database)
            .await?;
        sqlx::raw_sql("COMMIT").execute(&mut *database).await?;
        Ok(())
    })
}

fn wait_for_checkpoint(installation: &Installation, size: u64) -> Result<()> {
    for _ in 0..200 {
        let there = installation.get("/log/checkpoint").unwrap_or_default();
        if String::from_utf8_lossy(&there).lines().nth(1) == Some(&size.to_string()) {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    bail!("no checkpoint of {size} leaves")
}

/// The kernel drops what it holds of these files.
fn forget(files: &[std::path::PathBuf]) -> Result<()> {
    for file in files {
        rustix::fs::fadvise(File::open(file)?, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

fn prove(
    tiles: &Path,
    size: u64,
    root: Sha256Digest,
    places: &[i64],
    body: impl Fn(u64) -> String,
) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for place in places.iter().map(|place| *place as u64) {
        let started = Instant::now();
        let mut get = |tile: TileId| fs::read(tiles.join(Resource::Tile(tile).path()));
        let hashes = tile::inclusion_proof(place, size, &mut get)?;
        verify_inclusion(
            place,
            size,
            leaf_hash(body(place).as_bytes()),
            &hashes,
            root,
        )?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}
