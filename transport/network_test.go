package transport_test

import (
	"testing"

	"github.com/samsalog/samsa/transport"
	"github.com/samsalog/samsa/transport/transporttest"
)

func TestNetworkIsATransport(t *testing.T) {
	open := func(*testing.T) transport.Transport { return transport.NewNetwork() }
	t.Run("in real time", func(t *testing.T) { transporttest.Run(t, open) })
	t.Run("in a bubble", func(t *testing.T) { transporttest.RunInBubble(t, open) })
}

// With faults on other links every call takes the longer way, and nothing else
// may change.
func TestNetworkWithFaultsElsewhereIsATransport(t *testing.T) {
	transporttest.RunInBubble(t, func(*testing.T) transport.Transport {
		n := transport.NewNetwork()
		n.Cut("elsewhere", "nowhere")
		n.Pause("elsewhere")
		return n
	})
}
