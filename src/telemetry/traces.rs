//! Spans to a collector: OTLP over HTTP in protobuf (OpenTelemetry Protocol 1.x). What waits is bounded, what does not fit is dropped,
//! and nothing that signs waits for it: a thread of the SDK's own sends, one batch at a time, each once.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base::names::{SPANS, SPANS_MADE};
use base::trace::{CALLER, REFUSED, STRANGER, TraceParent};
use base::{Env, Trouble};
use metrics::counter;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator, SamplingDecision, SamplingResult,
    SdkTracer, SdkTracerProvider, ShouldSample, Span, SpanData, SpanExporter, SpanLimits,
    SpanProcessor,
};
use prost::Message as _;
use tokio::runtime::Handle;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::config::{Service, Traces};

/// Spans of one request to the collector.
const TOGETHER: usize = 512;

/// More than any span of ours has.
const LIMITS: SpanLimits = SpanLimits {
    max_events_per_span: 8,
    max_attributes_per_span: 32,
    max_links_per_span: 8,
    max_attributes_per_event: 8,
    max_attributes_per_link: 8,
};

/// Traces of strangers, and of whoever was not let in, that are exported in a second, at most: they leave room for those of signatures.
const STRANGERS: u32 = 10;

/// How long what waits may be sent for when the service stops.
const CLOSING: Duration = Duration::from_secs(2);

/// Posts a body.
type Sender = Box<dyn Fn(Vec<u8>) -> Sending + Send + Sync>;

type Sending = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

fn sender(settings: &Traces) -> Result<Sender, String> {
    let url = settings.endpoint.parse();
    let url = url.map_err(|error| format!("endpoint: {error}"))?;
    let ca_file = settings.ca_file.as_deref();
    let client = notify::http_client(&url, settings.allow_private, ca_file, settings.timeout)?;
    Ok(Box::new(move |body| {
        let request = client.post(url.clone());
        let request = request.header("content-type", "application/x-protobuf");
        let request = request.body(body);
        Box::pin(async move {
            // What the answer holds is not read: it may be anything, and without end.
            match request.send().await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(format!("the collector answered {}", answer.status())),
                Err(error) => Err(trust::error_chain(&error.without_url())),
            }
        })
    }))
}

/// Whether a collector could be sent to.
pub fn check(settings: &Traces) -> Result<(), String> {
    sender(settings).map(drop)
}

/// Makes spans, and sends them from time to time.
pub struct Exporting {
    provider: SdkTracerProvider,
}

impl Exporting {
    /// To the collector of the settings, which has to be called in a runtime. An error says what is wrong with them.
    pub fn start(
        settings: &Traces,
        service: &Service,
        instance: &str,
        env: &Env,
    ) -> Result<Self, String> {
        let resource = Resource::builder_empty().with_attributes([
            KeyValue::new("service.name", service.name.clone()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance.to_owned()),
            KeyValue::new("deployment.environment.name", service.environment.clone()),
        ]);
        let resource = resource.build();
        let exporter = Exporter {
            send: sender(settings)?,
            runtime: Handle::current(),
            resource: (&resource).into(),
            trouble: Mutex::default(),
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(settings.queue)
            .with_max_export_batch_size(TOGETHER.min(settings.queue))
            .with_scheduled_delay(settings.every)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Counting(processor.build()))
            .with_sampler(Share::new(settings.ratio, env.clone()))
            .with_id_generator(Ids(env.clone()))
            .with_span_limits(LIMITS)
            .with_resource(resource)
            .build();
        Ok(Self { provider })
    }

    /// What the layer of the subscriber makes spans by.
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer("chancery")
    }

    /// Sends what waits, for a bounded time; what is left then is dropped.
    pub async fn end(self) {
        let provider = self.provider;
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(CLOSING));
        match tokio::time::timeout(CLOSING * 2, ended).await {
            Ok(Ok(Ok(()))) => {}
            _ => tracing::debug!("spans that waited were not exported in time"),
        }
    }
}

/// Lets a span of ours that was not entered yet go on with its caller's trace.
pub fn set_parent(span: &tracing::Span, parent: TraceParent) {
    let caller = SpanContext::new(
        TraceId::from_bytes(parent.trace_id),
        SpanId::from_bytes(parent.span_id),
        TraceFlags::default(),
        true,
        TraceState::NONE,
    );
    if let Err(error) = span.set_parent(Context::new().with_remote_span_context(caller)) {
        tracing::debug!(%error, "a span has no parent");
    }
}

/// Which traces are exported: of those that begin here, or go on here, a share by chance, and of strangers' no more than [`STRANGERS`] in
/// a second. Neither the caller's flag nor its trace id has a say in it, so that nobody outside decides how much is exported.
#[derive(Clone)]
struct Share {
    /// Of 2^32.
    of: u64,
    env: Env,
    began: Instant,
    strangers: Arc<Mutex<Budget>>,
}

/// How many there were in the second that runs.
#[derive(Default)]
struct Budget {
    second: u64,
    spent: u32,
}

impl Budget {
    /// Whether there may be one more, so long after the beginning.
    fn spend(&mut self, since: Duration) -> bool {
        if self.second != since.as_secs() {
            *self = Self {
                second: since.as_secs(),
                spent: 0,
            };
        }
        let is_left = self.spent < STRANGERS;
        self.spent += u32::from(is_left);
        is_left
    }
}

/// Whether a trace begins with somebody who may be anybody.
fn is_of_a_stranger(attributes: &[KeyValue]) -> bool {
    attributes.iter().any(|one| {
        one.key.as_str() == CALLER && [STRANGER, REFUSED].contains(&one.value.as_str().as_ref())
    })
}

impl Share {
    fn new(ratio: f64, env: Env) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a ratio is between 0 and 1: the settings were validated"
        )]
        let of = (ratio * 4_294_967_296.0).round() as u64;
        Self {
            of,
            env,
            began: Instant::now(),
            strangers: Arc::default(),
        }
    }

    fn has_room_for_a_stranger(&self) -> bool {
        let strangers = self.strangers.lock();
        let mut budget = strangers.unwrap_or_else(PoisonError::into_inner);
        budget.spend(self.began.elapsed())
    }

    fn is_picked(&self) -> bool {
        let random = self.env.random().map(u32::from_be_bytes);
        random.is_ok_and(|random| u64::from(random) < self.of)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({} of 2^32)", self.of)
    }
}

impl ShouldSample for Share {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        _: TraceId,
        _: &str,
        _: &SpanKind,
        attributes: &[KeyValue],
        _: &[opentelemetry::trace::Link],
    ) -> SamplingResult {
        let parent = parent.filter(|parent| parent.has_active_span());
        let parent = parent.map(|parent| parent.span().span_context().clone());
        let picked = match parent.filter(|parent| parent.is_valid() && !parent.is_remote()) {
            Some(ours) => ours.is_sampled(),
            None => {
                self.is_picked()
                    && (!is_of_a_stranger(attributes) || self.has_room_for_a_stranger())
            }
        };
        let decision = match picked {
            true => SamplingDecision::RecordAndSample,
            false => SamplingDecision::Drop,
        };
        SamplingResult {
            decision,
            attributes: Vec::new(),
            trace_state: TraceState::NONE,
        }
    }
}

/// Ids by the process's own random source.
struct Ids(Env);

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids")
    }
}

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        self.0
            .random()
            .map_or(TraceId::INVALID, TraceId::from_bytes)
    }

    fn new_span_id(&self) -> SpanId {
        self.0.random().map_or(SpanId::INVALID, SpanId::from_bytes)
    }
}

/// Counts what is given to the queue: what of it is neither exported nor failed waits, or was dropped.
#[derive(Debug)]
struct Counting(BatchSpanProcessor);

impl SpanProcessor for Counting {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        self.0.on_start(span, cx);
    }

    fn on_end(&self, span: SpanData) {
        counter!(SPANS_MADE).increment(1);
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

struct Exporter {
    send: Sender,
    runtime: Handle,
    resource: ResourceAttributesWithSchema,
    trouble: Mutex<Trouble>,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

impl SpanExporter for Exporter {
    /// On the SDK's thread, which is none of the runtime's.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let sent = self.runtime.spawn((self.send)(body)).await;
        let sent = sent.unwrap_or_else(|_| Err("the service stops".to_owned()));
        let outcome = if sent.is_ok() { "exported" } else { "failed" };
        counter!(SPANS, "outcome" => outcome).increment(count);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match &sent {
            Ok(()) if trouble.is_over() => tracing::info!("spans are exported again"),
            Ok(()) => {}
            Err(why) => {
                if let Some(count) = trouble.is(why) {
                    tracing::warn!(error = why, count, "spans are not exported");
                }
            }
        }
        sent.map_err(OTelSdkError::InternalFailure)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Random numbers that rise evenly from none to all.
    fn env() -> Env {
        let next = Arc::new(AtomicU32::new(0));
        Env::new(
            || trust::Time::from_millis(0),
            move |bytes| {
                let step = u32::MAX / 1_000 + 1;
                let random = next.fetch_add(step, Ordering::Relaxed).to_be_bytes();
                for (byte, random) in bytes.iter_mut().zip(random) {
                    *byte = random;
                }
                Ok(())
            },
        )
    }

    fn picked(share: &Share, parent: Option<&Context>) -> usize {
        picked_of(share, parent, &[])
    }

    fn picked_of(share: &Share, parent: Option<&Context>, attributes: &[KeyValue]) -> usize {
        let asked = (0..1_000).filter(|_| {
            let result = share.should_sample(
                parent,
                TraceId::from_bytes([0; 16]),
                "request",
                &SpanKind::Server,
                attributes,
                &[],
            );
            result.decision == SamplingDecision::RecordAndSample
        });
        asked.count()
    }

    fn parent(flags: TraceFlags, remote: bool) -> Context {
        let (trace, span) = (TraceId::from_bytes([1; 16]), SpanId::from_bytes([2; 8]));
        let of = SpanContext::new(trace, span, flags, remote, TraceState::NONE);
        Context::new().with_remote_span_context(of)
    }

    #[test]
    fn threat_a_caller_decides_how_much_is_exported() {
        let share = Share::new(0.05, env());
        assert_eq!(picked(&share, None), 50);
        for flags in [TraceFlags::SAMPLED, TraceFlags::default()] {
            let share = Share::new(0.05, env());
            assert_eq!(picked(&share, Some(&parent(flags, true))), 50, "{flags:?}");
        }
    }

    #[test]
    fn threat_strangers_crowd_out_the_spans_of_signatures() {
        let mut budget = Budget::default();
        for second in [0, 1, 7] {
            let at = Duration::from_secs(second);
            let let_in = (0..1_000).filter(|_| budget.spend(at)).count();
            assert_eq!(let_in, 10, "in second {second}");
        }
        let by = |word: &'static str| [KeyValue::new(CALLER, word)];
        for word in [STRANGER, REFUSED] {
            let share = Share::new(1.0, env());
            let most = 10 * (1 + usize::try_from(share.began.elapsed().as_secs()).unwrap());
            let found = picked_of(&share, None, &by(word));
            assert!(found >= 10 && found <= most + 10, "{word}: {found}");
            // Whoever has credentials is as before.
            assert_eq!(picked_of(&share, None, &by(base::trace::KNOWN)), 1_000);
            assert_eq!(picked(&share, None), 1_000);
        }
    }

    #[test]
    fn a_trace_is_exported_whole_or_not_at_all() {
        let share = Share::new(0.05, env());
        let ours = |flags| parent(flags, false);
        assert_eq!(picked(&share, Some(&ours(TraceFlags::SAMPLED))), 1_000);
        assert_eq!(picked(&share, Some(&ours(TraceFlags::default()))), 0);
        assert_eq!(picked(&Share::new(1.0, env()), None), 1_000);
    }

    #[test]
    fn without_randomness_nothing_is_exported() {
        let none = || Env::new(|| trust::Time::from_millis(0), |_| Err(base::NoRandomness));
        assert_eq!(picked(&Share::new(1.0, none()), None), 0);
        assert_eq!(Ids(none()).new_trace_id(), TraceId::INVALID);
    }
}
