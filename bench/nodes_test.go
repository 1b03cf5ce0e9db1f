package bench

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
)

// script is an admin address that gives each page's answers in turn, the last one
// for ever.
type script struct {
	mu    sync.Mutex
	pages map[string][]string // guarded by mu
	asked map[string]int      // guarded by mu
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[r.URL.Path]++
	answers := s.pages[r.URL.Path]
	fmt.Fprint(w, answers[0])
	if len(answers) > 1 {
		s.pages[r.URL.Path] = answers[1:]
	}
}

func scripted(t *testing.T, pages ...map[string][]string) (*cluster, []*script, *http.Client) {
	c, scripts := &cluster{}, []*script{}
	for i, p := range pages {
		s := &script{pages: p, asked: map[string]int{}}
		server := httptest.NewServer(s)
		t.Cleanup(server.Close)
		c.Nodes = append(c.Nodes, node{ID: i + 1, Admin: server.Listener.Addr().String()})
		scripts = append(scripts, s)
	}
	c.again = make([]*process, len(pages))
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return c, scripts, &http.Client{Transport: transport}
}

func statusPage(commits ...int) string {
	text := ""
	for p, commit := range commits {
		text += fmt.Sprintf(`,{"topic":"bench","partition":%d,"role":"follower","commit":%d}`, p, commit)
	}
	return `{"node":1,"partitions":[` + text[1:] + `]}`
}

// A node has caught up when it has committed what the others had, and when it is
// in sync everywhere: neither alone says that it is back.
func TestCaughtUpIsCommittedAndInSync(t *testing.T) {
	const out, in = `{"partitions":[{"topic":"bench","partition":0,"leader":1,"replicas":[1,2],"isr":[1]}]}`,
		`{"partitions":[{"topic":"bench","partition":0,"leader":1,"replicas":[1,2],"isr":[2,1]}]}`
	c, scripts, client := scripted(t,
		map[string][]string{"/status": {statusPage(90, 70)}},
		map[string][]string{
			"/status":  {statusPage(10, 10), statusPage(90, 69), statusPage(89, 70), statusPage(90, 70)},
			"/cluster": {out, out, in},
		})
	if err := c.awaitCaughtUp(t.Context(), client, 1); err != nil {
		t.Fatal(err)
	}
	if asked := scripts[1].asked; asked["/status"] != 6 || asked["/cluster"] != 3 {
		t.Errorf("it was believed after %v", asked)
	}
}

// Who leads a partition says so itself.
func TestLeaderByItsOwnWord(t *testing.T) {
	const led = `{"partitions":[{"topic":"other","partition":1,"role":"leader"},{"topic":"bench","partition":5,"role":"leader"},
		{"topic":"bench","partition":0,"role":"leader"},{"topic":"bench","partition":2,"role":"follower"}]}`
	c, _, client := scripted(t, map[string][]string{"/status": {statusPage(1, 1)}},
		map[string][]string{"/status": {`{"partitions":[{"topic":"bench","partition":5,"role":"leader"}]}`, led}})
	o := &outage{c: c, b: &bed{http: client}}
	node, parts, err := o.leader(t.Context())
	if err != nil || node != 1 || !slices.Equal(parts, []int{0, 5}) {
		t.Errorf("node %d leads %v: %v", node, parts, err)
	}
}

// How long a partition was away counts to a record that was sent after the kill.
func TestAwayCountsRecordsOfAfterwards(t *testing.T) {
	o := &outage{line: newTimeline(2)}
	report(t, o.line, ack{0, 90, 120}, ack{0, 101, 150}, ack{1, 99, 130}, ack{1, 102, 190})
	long, err := o.away(t.Context(), []int{1, 0}, 100)
	if err != nil || !slices.Equal(long, []float64{90, 50}) {
		t.Errorf("%v, %v", long, err)
	}
}
