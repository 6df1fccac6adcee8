//! What the service says about itself: events by `tracing`, figures by `metrics`.

use std::io::{self, IsTerminal as _};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};
use opentelemetry_sdk::trace::SdkTracer;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Registry, reload};

use base::names::{self, Kind, describe};
pub use metrics_exporter_prometheus::PrometheusHandle as Figures;

pub mod traces;

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON object a line, for collectors.
    #[default]
    Json,
    /// For people.
    Text,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the telemetry filter {filter:?} is invalid")]
    Filter {
        filter: String,
        #[source]
        source: ParseError,
    },
    #[error("the tracing subscriber could not be installed")]
    Subscriber(#[source] TryInitError),
    #[error("the telemetry filter could not be replaced")]
    Replace(#[source] reload::Error),
    #[error("the metrics recorder could not be installed")]
    Recorder(#[source] BuildError),
}

/// Sends events to standard error, so that standard output stays the command's answer. `filter`
/// is in the syntax of `tracing-subscriber`'s `EnvFilter`, for instance `info,hsm=debug`. Spans of [`base::trace::TARGET`] are made by
/// the tracer, where there is one; the filter has no say in that.
pub fn init(filter: &str, format: Format, tracer: Option<SdkTracer>) -> Result<Filter, Error> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let written = match format {
        Format::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(io::stderr)
            .boxed(),
        Format::Text => tracing_subscriber::fmt::layer()
            .with_target(false)
            .with_ansi(has_colours())
            .with_writer(io::stderr)
            .boxed(),
    };
    let exported = tracer.map(|tracer| {
        let of = Targets::new().with_target(base::trace::TARGET, LevelFilter::TRACE);
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_level(false)
            .with_target(false)
            .with_filter(of)
    });
    tracing_subscriber::registry()
        .with(written.with_filter(filter))
        .with(exported)
        .try_init()
        .map_err(Error::Subscriber)?;
    Ok(Filter(handle))
}

/// The filter in use.
pub struct Filter(reload::Handle<EnvFilter, Registry>);

impl Filter {
    /// After an error the old one stays.
    pub fn replace(&self, filter: &str) -> Result<(), Error> {
        self.0.reload(parse(filter)?).map_err(Error::Replace)
    }
}

fn parse(filter: &str) -> Result<EnvFilter, Error> {
    EnvFilter::try_new(filter).map_err(|source| Error::Filter {
        filter: filter.to_owned(),
        source,
    })
}

/// Whether a filter can be used.
pub fn check(filter: &str) -> Result<(), Error> {
    parse(filter).map(drop)
}

/// Colours are for a terminal, and in files only in the way; `NO_COLOR` turns them off there too.
fn has_colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !unwanted && io::stderr().is_terminal()
}

/// Installs the recorder behind `metrics`' macros and describes every figure. Once per process.
pub fn record_metrics() -> Result<Figures, Error> {
    let handle = recorder()?.install_recorder().map_err(Error::Recorder)?;
    describe();
    Ok(handle)
}

fn recorder() -> Result<PrometheusBuilder, Error> {
    let mut builder = PrometheusBuilder::new();
    for metric in names::all() {
        if let Kind::Histogram(bounds) = metric.kind {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder
                .set_buckets_for_metric(name, bounds)
                .map_err(Error::Recorder)?;
        }
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use base::names::{REQUEST_SECONDS, ROTATION_SECONDS, SIGNATURES};

    use super::*;

    #[test]
    fn figures_are_rendered_with_their_buckets() {
        let recorder = recorder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            metrics::histogram!(REQUEST_SECONDS, "route" => "sign").record(0.002);
            metrics::histogram!(ROTATION_SECONDS, "key_type" => "signing").record(86_000.0);
            metrics::counter!(SIGNATURES, "kid" => "k").increment(3);
        });
        let text = handle.render();
        assert!(
            text.contains("chancery_signatures_total{kid=\"k\"} 3"),
            "{text}"
        );
        assert!(
            text.contains(
                "chancery_http_request_duration_seconds_bucket{route=\"sign\",le=\"0.002\"} 1"
            ),
            "{text}"
        );
        assert!(
            text.contains(
                "chancery_rotation_duration_seconds_bucket{key_type=\"signing\",le=\"86400\"} 1"
            ),
            "{text}"
        );
        assert!(text.contains("# HELP chancery_signatures_total "), "{text}");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error() {
        assert!(matches!(
            init("info,=x=", Format::Text, None),
            Err(Error::Filter { .. })
        ));
    }
}
