package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"
)

var errNotOurs = errors.New("another cluster answers there")

// awaitReady waits until every child serves; the first that ends instead, or
// the time limit, is an error. It blocks at most readyWaitMax.
func (c *children) awaitReady(ctx context.Context, clusterID string) error {
	limit, cancel := context.WithTimeoutCause(ctx, readyWaitMax, fmt.Errorf("not ready after %v", readyWaitMax))
	defer cancel()
	client := &http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	for _, k := range c.list {
		if err := k.awaitReady(limit, client, clusterID); err != nil {
			return &exitError{exitUnavailable, err}
		}
	}
	return nil
}

func (k *child) awaitReady(ctx context.Context, client *http.Client, clusterID string) error {
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		err := k.ready(ctx, client, clusterID)
		if err == nil {
			return nil
		}
		select {
		case <-k.ended:
			return errors.New(k.how())
		case <-ctx.Done():
			log := filepath.Join(k.node.dir, logName)
			return fmt.Errorf("node %d: %w (%w); its log is %s", k.node.file.NodeID, context.Cause(ctx), err, log)
		case <-tick.C:
		}
	}
}

// ready asks a node whether it serves, and whether it is the one we started: a
// stranger may hold the port that our node could not get.
func (k *child) ready(ctx context.Context, client *http.Client, clusterID string) error {
	if _, err := get(ctx, client, "http://"+k.node.file.Admin+"/readyz"); err != nil {
		return err
	}
	b, err := get(ctx, client, "http://"+k.node.file.Admin+"/status")
	if err != nil {
		return err
	}
	var s struct {
		Node    int32  `json:"node"`
		Cluster string `json:"cluster"`
	}
	if err := json.Unmarshal(b, &s); err != nil || s.Cluster != clusterID || s.Node != k.node.file.NodeID {
		return errNotOurs
	}
	return nil
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}
