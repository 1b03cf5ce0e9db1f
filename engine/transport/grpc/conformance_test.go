package grpctransport

import (
	"testing"

	"dyno/engine/ids"
	"dyno/engine/transport"
	"dyno/engine/transport/transporttest"
)

func TestConformance(t *testing.T) {
	for _, stock := range []bool{false, true} {
		name := "packed"
		if stock {
			name = "stock"
		}
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, func(t *testing.T, n int, queueBytesMax int64) []transport.Transport {
				var b book
				var all []transport.Transport
				for id := range n {
					node := serve(t, listen(t, "127.0.0.1:0"), Config{
						Node: ids.NodeID(id + 1), ClusterID: "c", Addr: b.addr, QueueBytesMax: queueBytesMax, Stock: stock,
					})
					b.set(ids.NodeID(id+1), node.addr)
					all = append(all, node)
				}
				return all
			})
		})
	}
}
