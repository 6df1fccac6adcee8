//! Callers that sign without pause while the key is rotated under them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use verify::client::Client;
use verify::output::{Code, Failure};

/// Callers at once.
const CALLERS: usize = 8;

pub struct Load {
    stop: Arc<AtomicBool>,
    callers: JoinSet<Vec<Answer>>,
}

struct Answer {
    at: Instant,
    kid: Option<String>,
}

pub struct Report {
    pub requests: usize,
    pub failed: usize,
    pub by_new_key: usize,
    /// From the rotation's command to the first answer by the new key.
    pub switch: Duration,
    /// The longest time in which nobody got an answer.
    pub gap: Duration,
}

impl Load {
    pub fn start(client: Client, ring: &str) -> Self {
        let client = Arc::new(client);
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (client, stop) = (client.clone(), stop.clone());
            let path = format!("/v1/rings/{ring}/sign");
            callers.spawn(async move {
                let body = json!({"format": "jws", "payload": "cm90YXRpb24gdW5kZXIgbG9hZA"});
                let mut answers = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.post(&path, &body).await;
                    let kid = answer
                        .ok()
                        .and_then(|answer| answer["kid"].as_str().map(str::to_owned));
                    answers.push(Answer {
                        at: Instant::now(),
                        kid,
                    });
                }
                answers
            });
        }
        Self { stop, callers }
    }

    pub async fn stop(mut self, commanded: Instant) -> Result<Report, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let mut answers = Vec::new();
        while let Some(part) = self.callers.join_next().await {
            answers.extend(part.map_err(|e| Failure::new(Code::Failed, e))?);
        }
        answers.sort_by_key(|answer| answer.at);
        let old = answers.iter().find_map(|answer| answer.kid.clone());
        let is_new = |answer: &&Answer| answer.kid.is_some() && answer.kid != old;
        let first_new = answers.iter().find(is_new);
        Ok(Report {
            requests: answers.len(),
            failed: answers.iter().filter(|answer| answer.kid.is_none()).count(),
            by_new_key: answers.iter().filter(is_new).count(),
            switch: first_new.map_or(Duration::ZERO, |new| new.at.duration_since(commanded)),
            gap: answers
                .windows(2)
                .map(|pair| pair[1].at.duration_since(pair[0].at))
                .max()
                .unwrap_or_default(),
        })
    }
}
