package bench

import (
	"fmt"
	"path/filepath"
)

const (
	transportQuestion = "What does it cost to carry Raft's messages over gRPC instead of in frames of our own on TCP: with a codec that passes entries " +
		"as they lie in memory, with the stock codec, and with TLS?"
	transportExpectation = "Frames use less CPU per record: gRPC copies each byte once more on either side and takes a goroutine's turn for each write. The stock codec " +
		"costs two more copies. TLS costs all the same and hides part of the difference. Three brokers and a client share this machine's cores, so what is saved shows in " +
		"throughput when pipelined; with 64 clients of one record each the syncs decide, and the transports are close."
)

// transports are the arms, as `dyno up --transport` names them.
var transports = []struct {
	name, transport string
	secure          bool
	target          bool // it is compared with another one
}{
	{"tcp", "tcp", false, true}, {"tcp-tls", "tcp", true, true},
	{"grpc", "grpc", false, true}, {"grpc-tls", "grpc", true, true},
	{"grpc-stock", "grpc-stock", false, false},
}

func transportExperiment(cfg ExperimentConfig) Experiment {
	p := newClusterPlan(cfg, "transport", transportQuestion, transportExpectation)
	for _, load := range []struct {
		family, words string
		shape         shape
	}{
		{"pipelined", "pipelined", shape{sizeBytes: kib, partitions: clusterParts}},
		{"closed", fmt.Sprintf("%d clients with one record each", clusterClients), shape{sizeBytes: kib, partitions: clusterParts, clients: clusterClients}},
	} {
		for _, t := range transports {
			reps := p.cfg.plain()
			if t.target {
				reps = p.headline()
			}
			params := p.dyno(load.family+"/"+t.name, load.family, load.shape, reps, func(b *bed) ([]string, error) {
				return transportArgs(b.dir, t.transport, t.secure)
			}).Params
			params["transport"], params["peer-tls"] = t.transport, fmt.Sprint(t.secure)
		}
		for _, tls := range []string{"", "-tls"} {
			tcp, grpc := load.family+"/tcp"+tls, load.family+"/grpc"+tls
			p.atLeast("throughput, "+load.words+", tcp"+tls+" against grpc"+tls, "throughput", tcp, grpc, 1)
			if load.shape.clients == 0 {
				p.atMost("broker CPU per record, "+load.words+", grpc"+tls+" against tcp"+tls, "broker_cpu", tcp, grpc, 1)
			}
		}
	}
	return p.e
}

// transportArgs are the arguments of `dyno up` for one arm. Certificates, and the
// settings that name them, are written into dir.
func transportArgs(dir, transport string, secure bool) ([]string, error) {
	args := []string{"--transport", transport}
	if !secure {
		return args, nil
	}
	dir, err := filepath.Abs(dir) // a node may have another working directory
	if err != nil {
		return nil, err
	}
	files, err := writeCertificates(dir)
	if err != nil {
		return nil, err
	}
	more, err := settingsArgs(dir, fmt.Sprintf("peer_tls:\n  ca: %q\n  cert: %q\n  key: %q\n", files.ca, files.cert, files.key))
	return append(args, more...), err
}
