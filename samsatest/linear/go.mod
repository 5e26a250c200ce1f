module github.com/samsalog/samsa/samsatest/linear

go 1.26.0

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/samsalog/samsa v0.0.0
	github.com/stretchr/testify v1.12.1
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/klauspost/compress v1.20.4 // indirect
	go.etcd.io/raft/v3 v3.7.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	google.golang.org/protobuf v1.36.11 // indirect
)

replace github.com/samsalog/samsa => ../..
