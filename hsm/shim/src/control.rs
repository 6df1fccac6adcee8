//! The control file.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::Duration;

use cryptoki_sys::CK_RV;

#[derive(Clone, Copy)]
pub enum Action {
    Answer(CK_RV),
    After(CK_RV),
    Sleep(Duration),
    Hang,
    Late,
    Corrupt,
    Swap,
    Strict,
}

/// What goes wrong in `function` now, if anything. Read anew each time: a test changes it while the module runs.
pub fn action(function: &str) -> Option<Action> {
    let text = fs::read_to_string(std::env::var_os("HSM_SHIM_CONTROL")?).ok()?;
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        if words.next()? != function {
            return None;
        }
        let verb = words.next()?;
        let number = words.next().and_then(|word| match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => word.parse().ok(),
        });
        match (verb, number) {
            ("rv", Some(code)) => Some(Action::Answer(code)),
            ("after", Some(code)) => Some(Action::After(code)),
            ("sleep", Some(millis)) => Some(Action::Sleep(Duration::from_millis(millis))),
            ("hang", None) => Some(Action::Hang),
            ("late", None) => Some(Action::Late),
            ("corrupt", None) => Some(Action::Corrupt),
            ("swap", None) => Some(Action::Swap),
            ("strict", None) => Some(Action::Strict),
            _ => None,
        }
    })
}

/// Notes a call. One write of one line in append mode, so lines of several processes do not mix.
pub fn note(function: &str) {
    if let Some(path) = std::env::var_os("HSM_SHIM_LOG")
        && let Ok(mut file) = OpenOptions::new().append(true).create(true).open(path)
    {
        // A test that counts calls would notice a lost line; the module must not fail for it.
        let _ = file.write_all(format!("{function}\n").as_bytes());
    }
}
