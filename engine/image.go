package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// imageName is the snapshot of the metadata that took the place of the log's
// first entries.
const imageName = "image.json"

// restoreImage reads the snapshot, if there is one.
func (n *Node) restoreImage() error {
	b, err := readFile(n.cfg.FS, path.Join(n.home, imageDir, imageName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var f imageFile
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err != nil {
		return fmt.Errorf("read the metadata snapshot: %w", err)
	}
	n.metaConf = f.Members
	if err := n.meta.Restore(f.Image); err != nil {
		return fmt.Errorf("restore the metadata snapshot: %w", err)
	}
	return n.realign(ids.MetadataGroup, n.meta.Applied(), f.Term)
}

// saveImage writes a snapshot of the metadata and cuts the entries it covers
// from the log. The snapshot is durable before the log is cut.
func (n *Node) saveImage(ctx context.Context) error {
	var s replica.Snapshot
	var err error
	if cerr := n.metaGroup.Call(ctx, func() { s, err = metaSnapshots{n}.Take() }); cerr != nil {
		return fmt.Errorf("snapshot the metadata: %w", cerr)
	}
	if err != nil {
		return fmt.Errorf("snapshot the metadata: %w", err)
	}
	s.Members = *n.metaGroup.Members() // of a later entry, perhaps: see replica/snapshot.go
	if err := n.writeImage(s); err != nil {
		return err
	}
	return n.metaGroup.Compact(s.Index + 1)
}
