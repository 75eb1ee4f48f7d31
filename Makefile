# Granary's commands. Each is a thin call of a Go program; the list of modules is go.work.

# What the user's shell has set for other work does not reach these commands.
export GOFLAGS =
export LC_ALL = C
unexport GOWORK

DEV = GOWORK=off go run -C tools ./dev

.PHONY: test lint verify fuzz sim zoo bench figures consumer release generate wire tidy redis consul

test: ## every check: make test [ONLY=regexp of steps] [LOG=file]
	@$(DEV) test $(if $(ONLY),-only '$(ONLY)') $(if $(LOG),-log '$(abspath $(LOG))')

verify: ## documentation, examples, budgets, arrows, dependencies, with the worst of each
	@$(DEV) verify

fuzz: ## every fuzz target: make fuzz [FUZZTIME=10s|400x] [TARGET=regexp]
	@$(DEV) fuzz $(if $(FUZZTIME),-time $(FUZZTIME)) $(if $(TARGET),-target '$(TARGET)')

SIM = GOWORK=off go run -C engine/internal/sim

sim: ## seeded schedules of faults: make sim [SEEDS=500] [FROM=1] [LOOKUP=disthash] [SEED=n [ENGINE=nodes] [KEEP=1,4]] [MUTANT=name] [JSON=1]
	@$(SIM) $(if $(MUTANT),-tags simbug) . $(if $(SEEDS),-seeds $(SEEDS)) $(if $(FROM),-from $(FROM)) $(if $(LOOKUP),-lookup $(LOOKUP)) $(if $(SEED),-seed $(SEED)) $(if $(KEEP),-keep $(KEEP)) $(if $(ENGINE),-engine $(ENGINE)) $(if $(MUTANT),-mutant $(MUTANT)) $(if $(JSON),-json)

zoo: ## every planted mistake is found: make zoo [LOOKUP=disthash] [MUTANT=name] [JSON=1]
	@$(SIM) -tags simbug . -zoo $(if $(LOOKUP),-lookup $(LOOKUP)) $(if $(MUTANT),-mutant $(MUTANT)) $(if $(JSON),-json)

bench: ## side by side with Proto.Actor: make bench [ROWS=regexp] [ROUNDS=5] [JSON=1]
	@GOWORK=off go run -C bench . $(if $(ROWS),-rows '$(ROWS)') $(if $(ROUNDS),-rounds $(ROUNDS)) $(if $(JSON),-json)

GET = GOWORK=off go run -C integration ./servers/get

redis: ## a redis-server for tests: the one on PATH, that of GRANARY_REDIS, or one unpacked into the user's cache
	@$(GET) redis

consul: ## a Consul for tests: that of GRANARY_CONSUL, or one built once, in about 6 minutes, into the user's cache
	@$(GET) consul

generate: ## protobuf, grains and wire, with pinned tools
	@GOWORK=off go run -C tools ./genprotos
	@cd cmd/granary-gen && GOWORK=off go test -count=1 -run '^(TestGolden|TestExamplesAreCurrent)$$' . -update
	@GOWORK=off go run -C tools ./wirecheck -gen

wire: ## compare committed injectors with what wire generates
	@GOWORK=off go run -C tools ./wirecheck

figures: ## what an operator asks of a provider, measured: make figures PROVIDER=consul [ROUNDS=5] [WRITE=docs/providers.md]
	@GOWORK=off go run -C integration ./figures -provider '$(PROVIDER)' $(if $(ROUNDS),-rounds $(ROUNDS)) $(if $(WRITE),-write '$(abspath $(WRITE))')

consumer: ## use the modules as an outside program would: make consumer [ONLY=regexp of names] [RELEASED=version of a release commit]
	@GOWORK=off go run -C tools ./consumer $(if $(ONLY),-only '$(ONLY)') $(if $(RELEASED),-released $(RELEASED))

release: ## make this checkout a release commit, and print its tags: make release VERSION=v0.2.0
	@GOWORK=off go run -C tools ./release $(VERSION)

lint: ## format and vet
	@$(DEV) test -only '^(format|vet)$$'

tidy: ## go mod tidy in every module of go.work
	@for m in $$(go list -m -f '{{.Dir}}'); do (cd $$m && GOWORK=off go mod tidy); done
