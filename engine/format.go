package engine

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"dyno/engine/ids"
	"dyno/engine/metadata"
	"dyno/wal"
	"dyno/wal/vfs"
)

// formatVersion is the version of everything below a data directory,
// rejoinedVersion that of one whose node came back without its log, and leasesVersion
// that of one whose cluster has leases: a build that does not know of either must not
// open what was lost, or vote where it has promised not to.
const (
	formatVersion   = 1
	rejoinedVersion = 2
	leasesVersion   = 3
)

const (
	metaName = "meta.json"
	walDir   = "wal"
	storeDir = "partitions"
	imageDir = "metadata"
)

// Meta says whose data directory this is. Format writes it, and a node that
// rejoins its cluster with an empty log (rejoin.go).
type Meta struct {
	Format    int        `json:"format"`
	ClusterID string     `json:"cluster_id"`
	NodeID    ids.NodeID `json:"node_id"`
	// Directory is drawn by Format: a node that comes back with another one has
	// lost what it voted and held.
	Directory string `json:"directory"`
	// Rejoin says that the node is known to its cluster and has lost its log: it
	// asks to be taken back before it takes part. Cleared once it is.
	Rejoin bool `json:"rejoin,omitempty"`
	// Leases says that leaders of partitions may read by themselves while they hold a
	// lease (leases.go). It is the same on all nodes of a cluster, for ever.
	Leases bool `json:"leases,omitempty"`
	// Life counts the logs that were lost in this directory; see home.
	Life int `json:"life,omitempty"`
	// Place in the metadata group of a node that was taken back; nil: the one the
	// cluster began with.
	Place *metaPlace `json:"place,omitempty"`
}

// metaPlace is a replica of the metadata group that took another one's place.
type metaPlace struct {
	Replica ids.ReplicaID `json:"replica"`
	// Index is the entry of the metadata that gave it. An older image does not
	// know of it, Members do: as they were at Index. Initial are the members that
	// the group began with.
	Index   ids.LogIndex       `json:"index"`
	Members []metadata.Replica `json:"members"`
	Initial []metadata.Replica `json:"initial"`
}

// home is the directory below dir that holds log, partitions and metadata. A
// damaged log stays where it was, and the node goes on in another one.
func (m *Meta) home(dir string) string {
	if m.Life == 0 {
		return dir
	}
	return path.Join(dir, fmt.Sprintf("life-%d", m.Life))
}

// FormatOption is what Format may be told besides.
type FormatOption func(*Meta)

// Rejoin is for a node that its cluster knows and that has lost the directory it had:
// it asks the others to be taken back when it starts.
func Rejoin(m *Meta) { m.Rejoin = true }

// Leases has leaders of partitions read by themselves while they hold a lease. All
// nodes of a cluster are formatted with it, or none: others are refused.
func Leases(m *Meta) { m.Leases = true }

// Format makes dir the data directory of one node of one cluster. It refuses a
// directory that is formatted already (ErrFormatted) or holds anything else.
// The log is made before meta.json names the directory formatted, so a crash
// in between leaves a directory that can be formatted again.
func Format(disk vfs.FS, dir, clusterID string, node ids.NodeID, options ...FormatOption) error {
	m := Meta{ClusterID: clusterID, NodeID: node}
	for _, o := range options {
		o(&m)
	}
	m.Format = m.version()
	return format(disk, dir, m)
}

// version is the oldest format that holds what m says.
func (m *Meta) version() int {
	switch {
	case m.Leases:
		return leasesVersion
	case m.Rejoin || m.Life > 0 || m.Place != nil:
		return rejoinedVersion
	}
	return formatVersion
}

func format(disk vfs.FS, dir string, m Meta) error {
	clusterID, node := m.ClusterID, m.NodeID
	if clusterID == "" || strings.ContainsAny(clusterID, " \t\n/") || node <= 0 {
		return fmt.Errorf("%w: format needs a cluster id without spaces and slashes, and a node id above 0", ErrConfig)
	}
	if err := mkdirDurable(disk, dir); err != nil {
		return fmt.Errorf("format %s: %w", dir, err)
	}
	lock, err := disk.Lock(path.Join(dir, "LOCK"))
	if err != nil {
		return fmt.Errorf("format %s: %w", dir, err)
	}
	defer lock.Close()
	if m, err := readMeta(disk, dir); err == nil {
		return fmt.Errorf("%w: %s is node %d of cluster %q; choose an empty directory, or delete this one first", ErrFormatted, dir, m.NodeID, m.ClusterID)
	} else if !errors.Is(err, ErrUnformatted) {
		return err
	}
	if err := makeHome(disk, dir); err != nil {
		return fmt.Errorf("format %s: %w", dir, err)
	}
	m.Directory = newDirectoryID()
	return writeMeta(disk, dir, &m)
}

// makeHome makes an empty log and the directories beside it. What is left over
// from one that was cut off goes: nothing in it was ever served.
func makeHome(disk vfs.FS, home string) error {
	if err := disk.RemoveAll(path.Join(home, walDir)); err != nil {
		return err
	}
	for _, d := range []string{walDir, storeDir, imageDir} {
		if err := disk.MkdirAll(path.Join(home, d)); err != nil {
			return err
		}
	}
	log, err := wal.Open(wal.Options{FS: disk, Dir: path.Join(home, walDir)})
	if err != nil {
		return err
	}
	return log.Close()
}

func writeMeta(disk vfs.FS, dir string, m *Meta) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", metaName, err)
	}
	return writeFile(disk, dir, metaName, append(b, '\n'))
}

// newDirectoryID draws the id of a data directory.
func newDirectoryID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// mkdirDurable makes dir and the parents it lacks, and makes all their names
// durable: a lost parent would take the log along.
func mkdirDurable(disk vfs.FS, dir string) error {
	var made []string
	for d := path.Clean(dir); ; d = path.Dir(d) {
		if _, err := disk.List(d); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append(made, d)
	}
	if err := disk.MkdirAll(dir); err != nil {
		return err
	}
	for _, d := range made {
		if err := disk.SyncDir(path.Dir(d)); err != nil {
			return err
		}
	}
	return nil
}

// ReadMeta tells whose data directory dir is: ErrUnformatted, ErrNewer.
func ReadMeta(disk vfs.FS, dir string) (Meta, error) { return readMeta(disk, dir) }

func readMeta(disk vfs.FS, dir string) (Meta, error) {
	var m Meta
	b, err := readFile(disk, path.Join(dir, metaName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("%w: run: dyno format --data %s --cluster-id ID --node-id N", ErrUnformatted, dir)
	}
	if err != nil {
		return m, fmt.Errorf("read %s: %w", metaName, err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%w: %s in %s cannot be read: %v", ErrForeign, metaName, dir, err)
	}
	if m.Format > leasesVersion {
		return m, fmt.Errorf("%w: %s has format %d, this dyno knows %d; start the newer dyno", ErrNewer, dir, m.Format, leasesVersion)
	}
	if m.Format < 1 || m.ClusterID == "" || m.NodeID <= 0 || m.Directory == "" || m.Life < 0 {
		return m, fmt.Errorf("%w: %s in %s names no cluster and node", ErrForeign, metaName, dir)
	}
	return m, nil
}

// checkMeta compares the directory with what the configuration expects.
func checkMeta(c *Config) (Meta, error) {
	m, err := readMeta(c.FS, c.DataDir)
	if err != nil {
		return m, err
	}
	if c.ClusterID != "" && c.ClusterID != m.ClusterID {
		return m, fmt.Errorf("%w: %s is of cluster %q, the configuration says %q; name the right --data, or format an empty one", ErrForeign, c.DataDir, m.ClusterID, c.ClusterID)
	}
	if c.NodeID != 0 && c.NodeID != m.NodeID {
		return m, fmt.Errorf("%w: %s is of node %d, the configuration says %d; name the right --data, or format an empty one", ErrForeign, c.DataDir, m.NodeID, c.NodeID)
	}
	names, err := c.FS.List(path.Join(m.home(c.DataDir), walDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("list log: %w", err)
	}
	segments := 0
	for _, n := range names {
		if n != "LOCK" {
			segments++
		}
	}
	if segments == 0 {
		return m, fmt.Errorf("%w: %s was formatted, but its log is gone; restore it; or, where the node has peers, delete the directory and run: dyno format --rejoin%s --data %s --cluster-id %s --node-id %d", ErrWiped, c.DataDir, m.leasesFlag(), c.DataDir, m.ClusterID, m.NodeID)
	}
	return m, nil
}

// readFile reads a whole small file.
func readFile(disk vfs.FS, name string) ([]byte, error) {
	size, err := disk.Stat(name)
	if err != nil {
		return nil, err
	}
	f, err := disk.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && size > 0 {
		return nil, err
	}
	return b, nil
}

// writeFile replaces dir/name atomically and durably: a crash leaves the old
// content or the new one.
func writeFile(disk vfs.FS, dir, name string, b []byte) error {
	tmp := path.Join(dir, name+".tmp")
	if err := disk.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: %w", name, err)
	}
	f, err := disk.Create(tmp)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Datasync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = disk.Rename(tmp, path.Join(dir, name))
	}
	if err == nil {
		err = disk.SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
