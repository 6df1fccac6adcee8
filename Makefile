# Everything is done by cargo and the scripts named here; each target first sees to what it needs (`.ci/setup`),
# which prints nothing and needs no network once all is there.

CARGO ?= cargo
ONLY  ?=
SOAK  ?=

.PHONY: all check test demo pictures run bench soak reach setup clean

all: check test

## format, lints, rustdoc, licences
check:
	@.ci/setup build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked
	@if command -v cargo-deny >/dev/null 2>&1; then $(CARGO) deny --locked check bans licenses sources; \
	else printf '\n*** NOT CHECKED: licences, bans and sources (cargo-deny is not installed) ***\n\n'; fi

## every test of the workspace; the last line is `N passed, N failed`
test:
	@.ci/setup build token test
	@tests/run.sh

## demonstration: ceremonies, signatures over a real log file, a rotation under load, a compromise; PART=custodians shows
## custodians at a distance: a 3-of-5 ceremony over HTTP, a roster change, a suspension, a standing order with an executor
## apart, an emergency drill, a ceremony with passkeys; PART=rotation a quarter of the calendar by a clock that is moved
demo:
	@.ci/setup build token $(if $(PART),mail) $(if $(filter rotation,$(PART)),watch)
	$(CARGO) build --locked -p chancery -p chancery-demo --bins
	@$${CARGO_TARGET_DIR:-target}/debug/chancery-demo $(if $(PART),--part $(PART))

## what a Prometheus sees of the demonstration of rotations, as the dashboards of deploy/grafana show it: docs/metrics/*.svg
pictures:
	@.ci/setup build token mail watch
	$(CARGO) build --locked -p chancery -p chancery-demo --bins
	@$${CARGO_TARGET_DIR:-target}/debug/chancery-demo --part rotation --pictures docs/metrics

## the same installation, kept running in .run/; a second run starts it again
run:
	@.ci/setup build token
	@if [ -e .run/chancery.toml ]; then grep -H '^issuer' .run/chancery.toml; \
		exec $(CARGO) run --locked --bin chancery -- --config .run/chancery.toml serve; \
	else $(CARGO) build --locked -p chancery -p chancery-demo --bins && \
		exec $${CARGO_TARGET_DIR:-target}/debug/chancery-demo --directory .run --keep; fi

## benchmarks as ratios within one run; ONLY=id,id selects, SOAK=600 sets the soak time; report in target/bench/report.md
bench:
	@.ci/setup build token bench
	$(CARGO) bench --locked --bench reach -- $(if $(ONLY),--only $(ONLY)) --soak $(or $(SOAK),60)

## an hour at full rate (memory, descriptors, latency over time; SOAK=7200 sets the seconds), then what ten million leaves cost
## on SQLite and PostgreSQL; ONLY=id,id selects; report as by bench
soak:
	@.ci/setup build token
	$(CARGO) bench --locked --bench reach -- --soak $(or $(SOAK),3600) \
		--only $(or $(ONLY),soak-rss-growth-mb-per-h,tenth-year-sign-ratio,cost-sqlite-growth,cost-postgres-growth)

## what an inventory of 100 000 assets and a simulated year of 5 000 take, optimised, on SQLite and PostgreSQL: medians of three
## (of five where nothing is read), held against what is asked for; tables on the terminal
reach:
	@.ci/setup build test
	$(CARGO) run --locked --release -p calendar --example measure
	REACH=1 $(CARGO) test --locked --release -p rotation -- --nocapture --test-threads=1 a_large_inventory ten_thousand_events
	REACH=1 $(CARGO) test --locked --release -p web -- --nocapture a_scrape_of_as_many_series

## install the dependencies of all targets
setup:
	@.ci/setup build token test bench

clean:
	$(CARGO) clean
	rm -rf .run .demo
