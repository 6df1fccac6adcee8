//! What the figures were seen on.

use std::fs;
use std::process::Command;

/// Names and values, in the order of the report.
pub fn describe() -> Vec<(&'static str, String)> {
    vec![
        ("processor", processor()),
        (
            "cores",
            std::thread::available_parallelism()
                .map_or(0, usize::from)
                .to_string(),
        ),
        ("kernel", first_line("/proc/sys/kernel/osrelease")),
        ("distribution", distribution()),
        ("compiler", said("rustc", &["--version"])),
        (
            "chancery",
            format!("{} ({})", env!("CARGO_PKG_VERSION"), commit()),
        ),
        (
            "profile",
            if cfg!(debug_assertions) {
                "dev: NOT to be quoted"
            } else {
                "release"
            }
            .to_owned(),
        ),
        (
            "token",
            format!("SoftHSM {}", said("softhsm2-util", &["--version"])),
        ),
        (
            "nginx",
            said_on_stderr(&super::nginx::program().to_string_lossy(), &["-v"]),
        ),
        ("load average", load_average()),
    ]
}

pub fn load_average() -> String {
    let text = first_line("/proc/loadavg");
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or_else(
            || "unknown".to_owned(),
            |rest| rest.trim_start_matches([' ', '\t', ':']).to_owned(),
        )
}

fn distribution() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or_else(
            || "unknown".to_owned(),
            |name| name.trim_matches('"').to_owned(),
        )
}

fn commit() -> String {
    said(
        "git",
        &[
            "-C",
            env!("CARGO_MANIFEST_DIR"),
            "describe",
            "--always",
            "--dirty",
        ],
    )
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "not installed".to_owned(),
        |said| one_line(&said.stdout),
    )
}

fn said_on_stderr(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "not installed".to_owned(),
        |said| one_line(&said.stderr),
    )
}

fn one_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .lines()
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}
