//! `chancery order`: standing orders, what is left of each, and the keys made under them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::ceremony::{Remote, withdraw_at};
use super::context::failed;
use super::ssh::{self, KeyFile};
use super::{CliContext, World};
use keyring::ceremony::{ORDERS_MAX, OrderReport};
use verify::output::{Failure, Output, table};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List standing orders with what is left of each, the newest last.
    List(List),
    /// Show one standing order: what it permits, its uses and their keys, who withdrew it.
    Show {
        /// The id of the order, as `order list` shows it.
        order: String,
    },
    /// Withdraw a standing order, as any one custodian. What was not accepted under it by then never is.
    Withdraw(Withdraw),
    /// Make the next key under a standing order, as its executor.
    Use {
        /// The id of the order, as `order list` shows it.
        order: String,
        /// The executor's SSH key, which signs the result; by default `orders.result_key`.
        #[arg(long)]
        key: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub struct List {
    /// The most orders to show.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=ORDERS_MAX))]
    limit: i64,
}

#[derive(Debug, Args)]
pub struct Withdraw {
    /// The id of the order, as `order list` shows it.
    order: String,
    /// Your SSH key.
    #[arg(long)]
    key: PathBuf,
    /// Why, in words for the record.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    if let Command::Withdraw(withdraw) = &command
        && withdraw.remote.is_given()?
    {
        let of = (withdraw.order.as_str(), withdraw.reason.as_str());
        return withdraw_at(&withdraw.remote, of, &withdraw.key, world, output).await;
    }
    let open = CliContext::new(path, world).await?;
    let service = open.ceremonies(world);
    match command {
        Command::List(list) => {
            let (mut orders, _) = service
                .orders((i64::MAX, ""), list.limit)
                .await
                .map_err(failed)?;
            orders.reverse();
            output.result(&orders, || rendered(&orders));
            Ok(())
        }
        Command::Show { order } => {
            let report = service.order_report(&order).await.map_err(failed)?;
            output.result(&report, || report.to_string());
            Ok(())
        }
        Command::Withdraw(withdraw) => {
            let Withdraw {
                order, key, reason, ..
            } = &withdraw;
            let payload = service.withdrawal_payload(order, reason).await;
            let payload = payload.map_err(failed)?;
            let signature = ssh::sign(key, &payload.namespace, &payload.bytes)?;
            let report = service.withdraw_order(order, reason, &signature).await;
            let report = report.map_err(failed)?;
            output.result(&report, || report.to_string());
            Ok(())
        }
        Command::Use { order, key } => {
            let service = match key {
                Some(key) => service.with_result_signer(Arc::new(KeyFile(key))),
                None => service,
            };
            let executor = open.executor()?;
            let snapshot = open.snapshot().await?;
            let report = service
                .make_under_order(&order, &executor, &snapshot)
                .await
                .map_err(failed)?;
            output.result(&report, || report.to_string());
            Ok(())
        }
    }
}

fn rendered(orders: &[OrderReport]) -> String {
    table(
        &["order", "ring", "state", "left", "until"],
        orders.iter().map(|order| {
            [
                order.order.clone(),
                order.ring.to_string(),
                order.state.to_owned(),
                format!("{}/{}", order.left, order.uses),
                order.not_after.to_string(),
            ]
        }),
    )
}
