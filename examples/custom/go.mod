module example.com/custom

go 1.26.0

require github.com/granary-go/granary/core v0.1.0

require (
	github.com/google/wire v0.7.0
	github.com/granary-go/granary/engine v0.1.0
	github.com/granary-go/granary/examples v0.1.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/fatih/color v1.19.0 // indirect
	github.com/go-viper/mapstructure/v2 v2.5.0 // indirect
	github.com/google/btree v1.1.3 // indirect
	github.com/granary-go/granary/integration v0.1.0 // indirect
	github.com/granary-go/granary/lookups/disthash v0.1.0 // indirect
	github.com/granary-go/granary/protos v0.1.0 // indirect
	github.com/granary-go/granary/providers/consul v0.1.0 // indirect
	github.com/granary-go/granary/providers/memberlist v0.1.0 // indirect
	github.com/granary-go/granary/providers/redis v0.1.0 // indirect
	github.com/hashicorp/consul/api v1.34.4 // indirect
	github.com/hashicorp/errwrap v1.1.0 // indirect
	github.com/hashicorp/go-cleanhttp v0.5.2 // indirect
	github.com/hashicorp/go-hclog v1.6.3 // indirect
	github.com/hashicorp/go-immutable-radix v1.3.1 // indirect
	github.com/hashicorp/go-metrics v0.7.0 // indirect
	github.com/hashicorp/go-msgpack/v2 v2.1.5 // indirect
	github.com/hashicorp/go-multierror v1.1.1 // indirect
	github.com/hashicorp/go-rootcerts v1.0.2 // indirect
	github.com/hashicorp/go-sockaddr v1.0.7 // indirect
	github.com/hashicorp/golang-lru v1.0.2 // indirect
	github.com/hashicorp/memberlist v0.7.0 // indirect
	github.com/hashicorp/serf v0.11.0 // indirect
	github.com/mattn/go-colorable v0.1.15 // indirect
	github.com/mattn/go-isatty v0.0.22 // indirect
	github.com/miekg/dns v1.1.73 // indirect
	github.com/mitchellh/go-homedir v1.1.0 // indirect
	github.com/redis/go-redis/v9 v9.23.0 // indirect
	github.com/sean-/seed v0.0.0-20170313163322-e2103e2c3529 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/exp v0.0.0-20260218203240-3dfff04db8fa // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1 // indirect
	google.golang.org/grpc v1.85.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/granary-go/granary/core => ../../core

replace github.com/granary-go/granary/engine => ../../engine

replace github.com/granary-go/granary/lookups/disthash => ../../lookups/disthash

replace github.com/granary-go/granary/providers/memberlist => ../../providers/memberlist

replace github.com/granary-go/granary/providers/redis => ../../providers/redis

replace github.com/granary-go/granary/providers/consul => ../../providers/consul

replace github.com/granary-go/granary/protos => ../../protos

replace github.com/granary-go/granary/integration => ../../integration

replace github.com/granary-go/granary/examples => ../../examples

replace github.com/granary-go/granary/tools/history => ../../tools/history
