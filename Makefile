# Everything a person does here. `make` alone lists it. Needs Node >= 20 with npm; the rest comes by itself.
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
.DEFAULT_GOAL := help

NODE_VERSION := 24.21.0
PNPM_VERSION := 10.34.8
# The pinned toolchain, used where the machine's own Node is too old or pnpm is missing.
export PATH := $(CURDIR)/.toolchain/node_modules/.bin:$(PATH)
TOOLCHAIN := .toolchain/node-$(NODE_VERSION)-pnpm-$(PNPM_VERSION)
MANIFESTS := package.json pnpm-lock.yaml pnpm-workspace.yaml $(wildcard packages/*/package.json services/*/package.json deploy/demo/package.json)
# Words of a person go to programs by the environment: no shell reads them.
# (AS is also make's name for the assembler; only one that a person gave counts.)
ifeq ($(origin AS),default)
AS :=
endif
export TEXT ROOM AS ARGS
# Without a configuration of one's own, the command line reads the demo's.
DEMO_SETTINGS := STEWARD_SEAL_PUBLIC_KEYS=$(or $(STEWARD_DATA_DIR),data)/audit-seal.pub \
  $(if $(wildcard config/steward.yaml),,STEWARD_CONFIG=deploy/demo-stack/steward.yaml STEWARD_TOOLS_DIR=deploy/demo-stack/tools)
RUN_TESTS := node packages/testkit/src/run-tests.ts

.PHONY: help demo say steward test test-unit test-stack test-containers test-chaos test-simulate chaos simulate simulate-bugs test-servers format lint types bench \
  up down logs ps health smoke toolchain install docker clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

demo: install ## all services and a simulated DingTalk in this terminal, nothing else needed
	@node deploy/demo/src/main.ts

say: install ## say something to the running demo: TEXT="/help" [ROOM=...] [AS=...]
	@if [ -z "$$TEXT" ]; then echo 'make say needs a text: make say TEXT="/help"' >&2; exit 2; fi
	@node deploy/demo/src/say.ts

steward: install ## the operators' command line on the running demo: ARGS="approvals list"
	@set -f; $(DEMO_SETTINGS) node bin/steward $$ARGS

test: install ## everything that must hold, on real servers; last line: N passed, N failed
	@$(RUN_TESTS)

test-unit: install ## the tests that need nothing but Node
	@$(RUN_TESTS) unit

test-containers: install ## the server tests on the Postgres and RabbitMQ of the compose file
	@env -u DATABASE_URL -u AMQP_URL -u RABBITMQ_MANAGEMENT_URL -u STEWARD_TEST_MAY_DESTROY \
	  STEWARD_TEST_SERVERS=docker $(RUN_TESTS) postgres rabbitmq e2e

test-stack: install ## the real compose stack, built and run with Docker
	@$(RUN_TESTS) stack

test-chaos: install ## a few faults with one seed, as the project's check runs them
	@$(RUN_TESTS) chaos

chaos: install ## break everything under load and check every promise: [FAULT=17] [SEED=1] [SEEDS=50] [CONVERSATIONS=300]
	@FAULT="$(FAULT)" SEED="$(SEED)" SEEDS="$(SEEDS)" CONVERSATIONS="$(CONVERSATIONS)" node test/chaos/main.ts

simulate: install ## play the services by seeds, each another order of everything: [SEEDS=10000] [SEED=17 plays one again]
	@SEED="$(SEED)" SEEDS="$(SEEDS)" node test/simulate/main.ts

simulate-bugs: install ## plant each bug of test/simulate/bugs in a copy and see it caught: [BUG=fence]
	@BUG="$(BUG)" node test/simulate/catch-bugs.ts

test-simulate: install ## a bounded part of both, as the project's check runs them
	@$(RUN_TESTS) simulate simulate-bugs

test-servers: install ## throw-away servers for tests run by hand; prints export lines, Ctrl-C ends them
	@node packages/testkit/src/servers-main.ts

format: install ## format all files
	@pnpm exec prettier --write --log-level warn .

lint: install ## look for mistakes (ESLint)
	@node --run lint

types: install ## check the types
	@node --run types

bench: install ## measure throughput, latency and start-up on this machine
	@node test/bench/main.ts

up: docker ## start the production-shaped stack with Docker (missing secrets are made first)
	@./deploy/secrets/generate
	@docker compose up -d --build --wait

down: docker ## stop the stack; its data stays
	@docker compose --profile demo --profile monitoring down --remove-orphans

logs: docker ## follow the log of the stack: [S=adapter]
	@docker compose logs --follow --tail 100 $(S)

ps: docker ## what runs in the stack
	@docker compose ps

health: docker ## is every service of the stack ready?
	@deploy/health

smoke: docker ## send one signed callback through the proxy and wait for its answer
	@deploy/smoke

clean: ## remove what was installed and built here; the demo's data and the secrets stay
	@rm -rf node_modules packages/*/node_modules services/*/node_modules deploy/*/node_modules .toolchain coverage

# Node 22.18 is the first that runs TypeScript as it is (23.6 in the odd line).
toolchain:
	@if ! command -v npm >/dev/null; then \
	  echo 'Node with npm is missing. On Debian or Ubuntu: sudo apt-get install nodejs npm' >&2; exit 1; fi
	@if [ -f $(TOOLCHAIN) ]; then exit 0; fi; \
	if node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 23 || (a === 22 && b > 17) || (a === 23 && b > 5) ? 0 : 1)' \
	  && pnpm --version 2>/dev/null | grep -q '^10\.'; then exit 0; fi; \
	echo 'Getting Node $(NODE_VERSION) and pnpm $(PNPM_VERSION) into .toolchain (once)'; \
	mkdir -p .toolchain && \
	npm install --prefix .toolchain --save-exact --ignore-scripts=false --no-audit --no-fund --loglevel=error \
	  node@$(NODE_VERSION) pnpm@$(PNPM_VERSION) >.toolchain/install.log 2>&1 || { \
	  cat .toolchain/install.log >&2; \
	  echo 'The toolchain could not be fetched from the npm registry. Check the network (npm ping), then run make again.' >&2; exit 1; }; \
	touch $(TOOLCHAIN)

docker:
	@docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1 || { \
	  echo 'This needs Docker Engine running, with the Compose plugin (v2). Without Docker there is: make demo' >&2; exit 1; }

install: toolchain node_modules/.installed

node_modules/.installed: $(MANIFESTS) | toolchain
	@echo 'Installing the dependencies'
	@mkdir -p node_modules; pnpm install --frozen-lockfile --config.confirmModulesPurge=false >node_modules/.install.log 2>&1 || { \
	  cat node_modules/.install.log >&2; \
	  echo 'The dependencies could not be installed; the reason stands above. `make clean` gives a fresh start.' >&2; exit 1; }
	@touch $@
