//! Reports of compromise: what somebody says, and what a person decides of it.

use std::path::{Path, PathBuf};

use ::rotation::compromise::{CompromiseReport, LONGEST_EVIDENCE, ReportView, Target};
use calendar::{AssetName, Time};
use clap::{ArgGroup, Args};
use trust::Kid;
use trust::text::spelled_out;
use verify::output::{Failure, Output, table};

use super::super::rotation::{failed, open_scheduler};
use super::super::{CliContext, World};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true))]
pub struct Report {
    /// Your name for the report: the same again is the same report.
    name: String,
    /// The key by its kid, which is its JWK thumbprint.
    #[arg(long, group = "what", allow_hyphen_values = true)]
    kid: Option<Kid>,
    /// The asset, such as `external/partner`.
    #[arg(long, group = "what")]
    asset: Option<AssetName>,
    /// Where it was found out, such as `secret scanner`.
    #[arg(long)]
    source: String,
    /// Why, in words for the record.
    #[arg(long)]
    reason: String,
    /// File with what was found, never a secret: up to 2000 characters.
    #[arg(long)]
    evidence: Option<PathBuf>,
    /// Earliest instant at which somebody else may have had it.
    #[arg(long)]
    compromised_since: Option<Time>,
}

#[derive(Debug, Args)]
pub struct List {
    /// One report, `cr_…`, with its evidence and what could be declared.
    report: Option<String>,
    /// Continue behind what a listing named.
    #[arg(long, conflicts_with = "report")]
    after: Option<String>,
    /// The most reports to show.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, Args)]
pub struct Decide {
    /// The report, `cr_…`.
    report: String,
    /// Why, in words for the record.
    #[arg(long)]
    reason: String,
}

pub async fn report(
    path: &Path,
    asked: Report,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let target = match (asked.kid, asked.asset) {
        (Some(kid), None) => Target::Key(kid),
        (None, Some(asset)) => Target::Asset(asset),
        _ => return Err(Failure::usage("expected --kid or --asset")),
    };
    let evidence = asked.evidence.as_deref().map(read).transpose()?;
    let open = CliContext::new(path, world).await?;
    let scheduler = open_scheduler(&open, world).await?;
    let report = CompromiseReport {
        report: asked.name,
        target,
        source: asked.source,
        reason: asked.reason,
        evidence,
        compromised_since: asked.compromised_since,
    };
    let filed = scheduler.engine().report_compromise(&report, &open.actor);
    let (view, repeated) = filed.await.map_err(failed)?;
    if repeated {
        output.remark("It was reported before; nothing was written.");
    }
    output.result(&view, || shown(&view));
    Ok(())
}

fn read(file: &Path) -> Result<String, Failure> {
    use std::io::Read as _;
    let cannot = |error| Failure::usage(format!("cannot read {}: {error}", file.display()));
    let opened = std::fs::File::open(file).map_err(cannot)?;
    let mut text = String::new();
    // One byte more than could be kept, so that what is too long is said to be.
    let most = LONGEST_EVIDENCE as u64 * 4 + 1;
    let read = opened.take(most).read_to_string(&mut text);
    read.map_err(cannot)?;
    Ok(text)
}

pub async fn list(path: &Path, asked: List, world: &World, output: &Output) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    let scheduler = open_scheduler(&open, world).await?;
    let engine = scheduler.engine();
    if let Some(id) = &asked.report {
        let view = engine.compromise_report(id).await.map_err(failed)?;
        output.result(&view, || shown(&view));
        return Ok(());
    }
    let page = engine.compromise_reports(asked.after.as_deref(), asked.limit);
    let page = page.await.map_err(failed)?;
    output.result(&page, || {
        let more = page
            .next
            .as_ref()
            .map(|next| format!("\ncontinue with --after {next}\n"));
        listed(&page.reports) + &more.unwrap_or_default()
    });
    Ok(())
}

pub async fn dismiss(
    path: &Path,
    asked: Decide,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    let scheduler = open_scheduler(&open, world).await?;
    let why = (open.actor.as_str(), asked.reason.as_str());
    let view = scheduler.engine().dismiss_compromise(&asked.report, why);
    let view = view.await.map_err(failed)?;
    output.result(&view, || shown(&view));
    Ok(())
}

pub async fn declare(
    path: &Path,
    asked: Decide,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    let scheduler = open_scheduler(&open, world).await?;
    let engine = scheduler.engine();
    let before = engine.compromise_report(&asked.report).await;
    let draft = before.map_err(failed)?.draft;
    let why = (open.actor.as_str(), asked.reason.as_str());
    let view = engine.declare_compromise(&asked.report, why).await;
    let view = view.map_err(failed)?;
    output.result(&view, || shown(&view));
    // Declared is not ordered: of a ring only its quorum does that.
    if let Some(draft) = draft.filter(|draft| draft.operation == "emergency-rotation") {
        output.remark(format!("Members of the roster order it: {}", draft.command));
    }
    Ok(())
}

fn listed(reports: &[ReportView]) -> String {
    table(
        &["report", "about", "by", "source", "state", "received"],
        reports.iter().map(|one| {
            [
                one.id.clone(),
                one.kid.clone().unwrap_or_else(|| one.asset.clone()),
                spelled_out(&one.by),
                spelled_out(&one.source),
                one.state.to_owned(),
                one.received_at.to_string(),
            ]
        }),
    )
}

fn shown(one: &ReportView) -> String {
    let mut lines = vec![
        format!("report        {}", one.id),
        format!("name          {}", spelled_out(&one.report)),
        format!("by            {}", spelled_out(&one.by)),
        format!(
            "asset         {} ({})",
            one.asset,
            spelled_out(&one.key_type)
        ),
    ];
    lines.extend(one.kid.as_ref().map(|kid| format!("key           {kid}")));
    lines.push(format!("source        {}", spelled_out(&one.source)));
    lines.push(format!("because       {}", spelled_out(&one.reason)));
    let since = one.compromised_since;
    lines.extend(since.map(|since| format!("since         {since}")));
    lines.push(format!("received      {}", one.received_at));
    lines.push(format!("state         {}", one.state));
    if let Some(decision) = &one.decision {
        lines.push(format!(
            "decided       {} by {}: {}",
            decision.at,
            spelled_out(&decision.by),
            spelled_out(&decision.reason)
        ));
        let rotation = decision.rotation.as_deref().map(spelled_out);
        lines.extend(rotation.map(|rotation| format!("rotation      {rotation}")));
    }
    lines.push(format!("alert         {}", one.alert));
    if let Some(evidence) = &one.evidence {
        lines.push("evidence".to_owned());
        let said = evidence.lines().map(spelled_out);
        lines.extend(said.map(|line| format!("    {line}")));
    }
    if let Some(draft) = &one.draft {
        let state = draft
            .key_state
            .map(|state| format!(" (the key is {state})"));
        let state = state.unwrap_or_default();
        lines.push(format!("draft         {}{state}", draft.operation));
        lines.push(format!("    {}", draft.command));
        lines.push("or".to_owned());
        lines.push(format!(
            "    chancery emergency dismiss {} --reason TEXT",
            one.id
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}
