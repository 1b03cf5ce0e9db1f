package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"dyno/engine/ids"
)

// imageName is the snapshot of the metadata that took the place of the log's
// first entries.
const imageName = "image.json"

// restoreImage reads the snapshot, if there is one.
func (n *Node) restoreImage() error {
	b, err := readFile(n.cfg.FS, path.Join(n.cfg.DataDir, imageDir, imageName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the metadata snapshot: %w", err)
	}
	if err := n.meta.Restore(b); err != nil {
		return fmt.Errorf("restore the metadata snapshot: %w", err)
	}
	return nil
}

// saveImage writes a snapshot of the metadata and cuts the entries it covers
// from the log. The snapshot is durable before the log is cut.
func (n *Node) saveImage(ctx context.Context) error {
	var b []byte
	var at ids.LogIndex
	var err error
	call := func() { b, err = n.meta.Snapshot(); at = n.meta.Applied() }
	if cerr := n.metaGroup.Call(ctx, call); cerr != nil {
		return fmt.Errorf("snapshot the metadata: %w", cerr)
	}
	if err != nil {
		return fmt.Errorf("snapshot the metadata: %w", err)
	}
	if err := writeFile(n.cfg.FS, path.Join(n.cfg.DataDir, imageDir), imageName, b); err != nil {
		return err
	}
	return n.metaGroup.Compact(at + 1)
}
