package gossip

import (
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/memberlist"

	"dyno/engine/ids"
)

// Info is what a node says of itself.
type Info struct {
	Cluster string     `json:"cluster"`
	Node    ids.NodeID `json:"node"`
	// Incarnation tells the lives of a node apart: a later one has a higher number.
	Incarnation uint64 `json:"incarnation"`
	Directory   string `json:"directory"` // id of its data directory
	Version     uint8  `json:"version"`   // of what it gossips
	Peer        string `json:"peer"`      // host:port for other nodes
	Kafka       string `json:"kafka"`     // advertised; empty until it is known
	Admin       string `json:"admin"`
	Rack        string `json:"rack,omitempty"`
	Load        Load   `json:"load"`
}

// Load is how busy a node is.
type Load struct {
	Leaders  int64 `json:"leaders"`  // partitions that it leads
	Replicas int64 `json:"replicas"` // that it holds
	InBytes  int64 `json:"in_bytes_per_s"`
	DiskFree int64 `json:"disk_free_bytes"`
}

// version is that of meta.
const version = 1

// name is what memberlist calls this life of the node.
func (i *Info) name() string {
	return seedName(i.Node, i.Peer) + "#" + strconv.FormatUint(i.Incarnation, 16)
}

// seedName names a node at an address, in a life that is not known.
func seedName(node ids.NodeID, addr string) string { return strconv.Itoa(int(node)) + "@" + addr }

// parseName reads a name; inc is 0 where it names no life.
func parseName(name string) (node ids.NodeID, addr string, inc uint64, err error) {
	id, rest, ok := strings.Cut(name, "@")
	n, err := strconv.ParseInt(id, 10, 32)
	if !ok || err != nil || n <= 0 {
		return 0, "", 0, fmt.Errorf("%w: member name %.80q", ErrMalformed, name)
	}
	addr, life, ok := strings.Cut(rest, "#")
	if ok {
		if inc, err = strconv.ParseUint(life, 16, 64); err != nil || inc == 0 {
			return 0, "", 0, fmt.Errorf("%w: member name %.80q", ErrMalformed, name)
		}
	}
	if err := checkAddr(addr); err != nil {
		return 0, "", 0, err
	}
	return ids.NodeID(n), addr, inc, nil
}

// checkAddr wants host:port without what a name gives a meaning to. memberlist
// cuts at a slash.
func checkAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || port == "" || strings.ContainsAny(addr, "/#@") || !printable(addr) {
		return fmt.Errorf("%w: address %.80q", ErrMalformed, addr)
	}
	return nil
}

// appendMeta encodes what the name does not say.
func (i *Info) appendMeta(b []byte) []byte {
	b = append(b, version)
	for _, s := range []string{i.Cluster, i.Directory, i.Kafka, i.Admin, i.Rack} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	for _, n := range []int64{i.Load.Leaders, i.Load.Replicas, i.Load.InBytes, i.Load.DiskFree} {
		b = binary.AppendUvarint(b, uint64(max(n, 0)))
	}
	return b
}

// check says whether others could take i.
func (i *Info) check() error {
	meta := i.appendMeta(nil)
	if len(meta)+loadBytesMax > memberlist.MetaMaxSize || len(i.Cluster) > clusterBytesMax {
		return fmt.Errorf("%w: cluster id, addresses and rack are longer than the %d bytes that gossip carries", ErrConfig, memberlist.MetaMaxSize)
	}
	if _, err := decode(i.name(), meta); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// loadBytesMax is how much four numbers may need.
const loadBytesMax = 4 * binary.MaxVarintLen64

// decode reads a member as memberlist hands it out. It keeps nothing of meta.
func decode(name string, meta []byte) (Info, error) {
	var i Info
	var err error
	if i.Node, i.Peer, i.Incarnation, err = parseName(name); err != nil {
		return Info{}, err
	}
	if i.Incarnation == 0 || i.name() != name || len(meta) == 0 || meta[0] == 0 {
		return Info{}, fmt.Errorf("%w: member %.80q with meta %.80x", ErrMalformed, name, meta)
	}
	i.Version = meta[0]
	r := reader{left: meta[1:]}
	for _, s := range []*string{&i.Cluster, &i.Directory, &i.Kafka, &i.Admin, &i.Rack} {
		*s = r.text()
	}
	for _, n := range []*int64{&i.Load.Leaders, &i.Load.Replicas, &i.Load.InBytes, &i.Load.DiskFree} {
		*n = r.number()
	}
	if r.bad || i.Cluster == "" {
		return Info{}, fmt.Errorf("%w: meta %.80x", ErrMalformed, meta)
	}
	return i, nil
}

// reader takes values off the front; after the first that is not there, bad is
// set and all are zero.
type reader struct {
	left []byte
	bad  bool
}

func (r *reader) number() int64 {
	n, used := binary.Uvarint(r.left)
	if r.bad || used <= 0 || n > math.MaxInt64 {
		r.bad = true
		return 0
	}
	r.left = r.left[used:]
	return int64(n)
}

func (r *reader) text() string {
	n := r.number()
	if r.bad || n > int64(len(r.left)) || !printable(string(r.left[:n])) {
		r.bad = true
		return ""
	}
	s := string(r.left[:n])
	r.left = r.left[n:]
	return s
}

// printable says that a text may be shown on a terminal.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
