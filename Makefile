# Two commands matter: `make demo` and `make test`. Each sets up all it needs; what is there already is not made again.
#
#   make demo          the whole product on this machine, stays up until Ctrl-C     (ONCE=1: verify, take down, exit with the result)
#   make test          every test with coverage                                    (T=tests/unit: only these, without thresholds)
#   make check         lint, format, types, layers, generated files up to date, licences and advisories of dependencies
#   make generate      write crds/, docs/reference/ and what charts/ and manifests/argocd take from them
#   make image         the container image, from Debian's archive and PyPI alone        (make sbom: what is in it)
#   make e2e           the chart with that image on a real node of this machine, as root     (TARGET=kind: on a cluster in Docker)
#   make bench         performance against a floor in the same run; tables and JSON    (B=events: only this; N=1000: fewer apps;
#                      for sharding and planner OR-tools and ketama are fetched as peers; PEERS=0: without them)
#   make clean         remove what the above made here (the cache of binaries stays: `rm -r ~/.cache/shuren` removes that)

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
# Hundreds of Python programs are started: none should compile anew what the one before has compiled.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
# Three on two cores, since most of the suite waits most of the time; while a load is judged request by request two of them work (tests/scheduling.py).
WORKERS ?= 3

.PHONY: help setup packages containers readers askers accelerator binaries demo test-programs test image sbom node e2e check audit generate bench clean

help:
	@sed -n 's/^#   //p' Makefile

setup: packages $(STAMPS)/installed accelerator binaries

# ---------------------------------------------------------------------------------------------------------------- Debian packages
# Judged by what they bring, not by dpkg: a Java or HAProxy from elsewhere is as good.
packages:
	@missing=(); \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || missing+=(python3); \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv); \
	command -v java >/dev/null || missing+=(default-jre-headless); \
	[ -e "$${ZOOKEEPER_JAR:-/usr/share/java/zookeeper.jar}" ] || missing+=(zookeeper); \
	command -v haproxy >/dev/null || missing+=(haproxy); \
	command -v dig >/dev/null || missing+=(bind9-dnsutils); \
	compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || missing+=(libfaketime); \
	[ $${#missing[@]} -eq 0 ] && exit 0; \
	if [ "$$(id -u)" != 0 ]; then \
	  echo "These Debian packages are missing. As root, run:" >&2; \
	  echo "  apt-get update && apt-get install -y --no-install-recommends $${missing[*]}" >&2; \
	  exit 1; \
	fi; \
	echo "set-up: Debian packages $${missing[*]}"; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq && apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null

# A Docker Engine for the tests of the docker runner, which start one of their own: installed, never started as a service. Who is not root
# goes without; those tests then say so.
containers: packages
	@command -v dockerd >/dev/null && command -v busybox >/dev/null && command -v ip >/dev/null && exit 0; \
	if [ "$$(id -u)" != 0 ]; then \
	  echo "set-up: no dockerd: tests with real containers are left out (as root: apt-get install docker.io busybox-static iproute2)"; \
	  exit 0; \
	fi; \
	echo "set-up: Debian packages docker.io busybox-static iproute2"; \
	policy=/usr/sbin/policy-rc.d; \
	if [ ! -e $$policy ]; then printf '#!/bin/sh\nexit 101\n' >$$policy; chmod +x $$policy; trap "rm -f $$policy" EXIT; fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq && apt-get install -y -qq --no-install-recommends docker.io busybox-static iproute2 >/dev/null

# Programs nobody here wrote that read what we publish: Prometheus, PowerDNS, Curator (from Maven Central, into the cache). Installed, never
# started as services. Who is not root goes without those that are missing; the tests of them then say so.
CACHE := $(or $(SHUREN_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/shuren)
readers: $(CACHE)/curator-5.9.0
	@missing=(); \
	command -v prometheus >/dev/null || missing+=(prometheus); \
	command -v pdns_server >/dev/null || missing+=(pdns-server pdns-backend-sqlite3); \
	$(install)
$(CACHE)/curator-5.9.0: tests/readers/pom.xml | packages
	@missing=(); \
	command -v javac >/dev/null || missing+=(default-jdk-headless); \
	command -v mvn >/dev/null || missing+=(maven); \
	$(install); \
	command -v mvn >/dev/null || exit 0; \
	echo "set-up: Curator"; \
	mvn -q --batch-mode --no-transfer-progress -f tests/readers/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$@.part; \
	rm -rf $@; mv $@.part $@; touch $@

# dnsperf asks faster than any name server answers: for `make bench`.
askers: | packages
	@missing=(); command -v dnsperf >/dev/null || missing+=(dnsperf); $(install)

# Installs the packages in $missing without starting what they bring.
define install
if [ $${#missing[@]} -gt 0 ]; then \
	  if [ "$$(id -u)" != 0 ]; then \
	    echo "set-up: left out, as root: apt-get install $${missing[*]}"; \
	  else \
	    echo "set-up: Debian packages $${missing[*]}"; \
	    policy=/usr/sbin/policy-rc.d; \
	    if [ ! -e $$policy ]; then printf '#!/bin/sh\nexit 101\n' >$$policy; chmod +x $$policy; trap "rm -f $$policy" EXIT; fi; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
	  fi; \
	fi
endef

# ------------------------------------------------------------------------------------------------------------ virtual environment
$(STAMPS)/venv: | packages
	@$(PYTHON) -c 'import sys; sys.exit("shuren needs Python 3.11 or newer, " + sys.executable + " is " + sys.version.split()[0] + ": make PYTHON=…" if sys.version_info < (3, 11) else 0)'
	@echo "set-up: virtual environment in $(VENV)"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dependencies: constraints.txt | $(STAMPS)/venv
	@echo "set-up: $$(grep -c == constraints.txt) Python packages, each by its hash"
	@began=$$SECONDS; $(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes --only-binary :all: --no-deps -r constraints.txt; \
	echo "set-up: Python packages there after $$((SECONDS - began)) s"
	@touch $@

$(STAMPS)/installed: pyproject.toml $(STAMPS)/dependencies
	@echo "set-up: shuren itself, editable"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --no-index --editable .
	@touch $@

# ------------------------------------------------------------------------------------------- accelerator of the sharding library
# Optional: without a C compiler a sentence says so, and the library goes on in Python.
ACCEL := operator/shuren/sharding/core/accel
accelerator: $(ACCEL)/_native.abi3.so
$(ACCEL)/_native.abi3.so: $(ACCEL)/native.c $(ACCEL)/xxh64.h $(ACCEL)/build.py | $(STAMPS)/installed
	@$(BIN)/python $(ACCEL)/build.py

# ------------------------------------------------------------------------------------------------- API server, etcd, kubectl, helm
# Found in KUBEBUILDER_ASSETS or the cache ($SHUREN_CACHE, else ~/.cache/shuren), else built once from Go modules.
binaries: $(STAMPS)/installed
	@$(BIN)/python -m shuren.devenv.binaries

# ------------------------------------------------------------------------------------------------------------------------ commands
demo: setup
	@$(BIN)/shuren demo --state-dir .sandbox/demo $(if $(ONCE),--once)

# What GitOps tools think of our statuses is asked of their own programs, built once from Go modules (tests/go), and what they think of
# what we wrote for them, of the definitions of their kinds.
test-programs: $(STAMPS)/installed
	@$(BIN)/python tests/go_programs.py && $(BIN)/python tests/gitops_definitions.py

# The order of rooms is from quick to slow. pytest's closing line must stay the last line of this target.
TESTED := $(wildcard tests/unit tests/model tests/contract tests/component tests/integration tests/chart)
test: setup containers readers test-programs
ifdef T
	@$(BIN)/pytest $(T)
else
	@rm -f .coverage .coverage.*
	@$(BIN)/pytest $(TESTED) --numprocesses $(WORKERS) --no-loadscope-reorder \
	  --cov --cov-report= --cov-fail-under 85 --cov-room domain=95 --cov-room runtime=95
endif

# The container image, without a registry (tests/container_image.py); its packages as a bill of materials; and tests of the real image.
IMAGE_TOOLS := missing=(); command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
image: $(STAMPS)/installed containers
	@$(IMAGE_TOOLS); $(install)
	@PYTHONPATH=tests $(BIN)/python tests/container_image.py build/shuren-image.tar

SBOM := $(VENV)/sbom
sbom: $(STAMPS)/installed
	@[ -x $(SBOM)/bin/cyclonedx-py ] || { $(PYTHON) -m venv $(SBOM) && $(SBOM)/bin/python -m pip install --disable-pip-version-check --quiet cyclonedx-bom==7.5.0; }
	@mkdir -p build && $(SBOM)/bin/cyclonedx-py requirements image/runtime.txt --pyproject pyproject.toml --output-reproducible --of JSON -o build/shuren.cdx.json
	@if [ "$$(id -u)" != 0 ]; then echo "sbom: without Debian's packages: only root can make the base of the image"; exit 0; fi; \
	$(IMAGE_TOOLS); $(install); \
	base=$$(PYTHONPATH=tests $(BIN)/python -c 'import container_image as image; print(image.base(image.to_stderr), image.SUITE)'); \
	$(SBOM)/bin/python -W ignore tests/image_sbom.py $$base build/shuren.cdx.json
	@echo "sbom: build/shuren.cdx.json"

# What a real node is made of beside the programs that tests/real_node.py builds. Installed, never started as services.
node: containers
	@$(IMAGE_TOOLS); \
	for one in containerd runc conntrack buildah; do command -v $$one >/dev/null || missing+=($$one); done; \
	command -v nft >/dev/null || missing+=(nftables); \
	[ -e /usr/lib/cni/bridge ] || missing+=(containernetworking-plugins); \
	$(install)

# TARGET=node: a kubelet on this machine, in namespaces of its own (root). TARGET=kind: a cluster in Docker.
TARGET ?= node
e2e: setup $(if $(filter node,$(TARGET)),node)
	@$(BIN)/python tests/alone.py $(TARGET)

GENERATED := crdgen docgen chartgen argogen
check: $(STAMPS)/installed
	@echo "check: ruff"; $(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check .
	@echo "check: types of the product"; $(BIN)/mypy
	@echo "check: types of the tests"; $(BIN)/mypy tests
	@echo "check: layers"; $(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache
	@echo "check: generated files"; for one in $(GENERATED); do $(BIN)/python -m shuren.api.$$one --check || exit 1; done \
	  && $(BIN)/python tests/sharding_vectors.py --check && $(BIN)/python tests/image_requirements.py --check
	@echo "check: licences of dependencies"; $(BIN)/python tests/dependencies.py licences --check
	@$(MAKE) audit

# The tool has a virtual environment of its own: what it needs is none of ours. Where no advisory can be looked up, that is said.
AUDIT := $(VENV)/audit
audit: $(STAMPS)/installed
	@[ -x $(AUDIT)/bin/pip-audit ] || { $(PYTHON) -m venv $(AUDIT) && $(AUDIT)/bin/python -m pip install --disable-pip-version-check --quiet pip-audit==2.10.1; }
	@echo "check: advisories on dependencies"; rm -f $(AUDIT)/report.json
	@$(AUDIT)/bin/pip-audit --requirement constraints.txt --disable-pip --require-hashes --progress-spinner off --format json --output $(AUDIT)/report.json \
	  2>$(AUDIT)/log || [ -s $(AUDIT)/report.json ] || grep -q ConnectionError $(AUDIT)/log || { tail -5 $(AUDIT)/log; exit 1; }
	@[ -s $(AUDIT)/report.json ] && $(BIN)/python tests/dependencies.py advisories $(AUDIT)/report.json || { [ ! -s $(AUDIT)/report.json ] && echo "the index does not answer: nothing was audited"; }

generate: $(STAMPS)/installed
	@for one in $(GENERATED); do $(BIN)/python -m shuren.api.$$one || exit 1; done && $(BIN)/python tests/sharding_vectors.py && $(BIN)/python tests/image_requirements.py && $(BIN)/python tests/dependencies.py licences

# Benches that are programs of their own; the planner's rows are also in sharding's table. Peers that no test needs (Apache 2.0, BSD, MIT) are
# fetched for sharding and the planner alone, with wheels only but for ketama; without them the table says who was not asked. fastring is for
# a Python 3.13, which the bench looks for on the path and where pyenv and uv keep theirs.
PROGRAMS := mirror engine sharding planner
NAMED := $(filter-out $(PROGRAMS),$(B))
PEERS_OF_SHARDING := .peers/ortools .peers/python3.13/fastring
.peers/ortools:
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --target .peers --only-binary ortools,numpy,pandas ortools==9.15.6755 ketama==0.1.1 \
	  || { rm -rf $@; echo "bench: OR-tools and ketama are not to be had here: they are left out"; }
.peers/python3.13/fastring:
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --target .peers/python3.13 --python-version 3.13 --ignore-requires-python --only-binary :all: --no-deps \
	  fastring==0.2.1 || { rm -rf $@; echo "bench: fastring is not to be had here: it is left out"; }
bench: setup askers $(if $(filter-out 0,$(or $(PEERS),1)),$(if $(or $(if $(B),,all),$(filter sharding planner,$(B))),$(PEERS_OF_SHARDING)))
	@missed=0; \
	$(if $(B),$(if $(NAMED),PYTHONPATH=tests $(BIN)/python -m bench $(NAMED) $(if $(N),--apps $(N)) || missed=1;),PYTHONPATH=tests $(BIN)/python -m bench $(if $(N),--apps $(N)) || missed=1;) \
	for one in $(if $(B),$(filter $(PROGRAMS),$(B)),mirror engine sharding); do \
	  peers=; case $$one in sharding|planner) [ "$(PEERS)" = 0 ] || [ ! -d .peers ] || peers="--peers .peers";; esac; \
	  echo; $(BIN)/python tests/bench/bench_$$one.py $$peers || missed=1; \
	done; \
	exit $$missed

clean:
	@[ ! -x $(BIN)/shuren ] || for place in .sandbox/*/; do [ ! -d "$$place" ] || $(BIN)/shuren sandbox down --state-dir "$$place"; done
	@rm -f $(ACCEL)/_native*.so
	@rm -rf $(VENV) .peers .sandbox .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* build dist
	@find operator tests -name __pycache__ -type d -prune -exec rm -rf {} +
