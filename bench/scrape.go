package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// counters are the samples of one Prometheus page, summed over labels.
type counters map[string]float64

// scrapeMax bounds one page; dyno's has some hundred lines.
const scrapeMax = 8 << 20

// scrape reads http://admin/metrics.
func scrape(ctx context.Context, client *http.Client, admin string) (counters, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, adminURL(admin, "/metrics"), nil)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("scrape %s: status %s", admin, resp.Status)
	}
	return parseCounters(io.LimitReader(resp.Body, scrapeMax))
}

func adminURL(admin, path string) string {
	if !strings.Contains(admin, "://") {
		admin = "http://" + admin
	}
	return strings.TrimSuffix(admin, "/") + path
}

// parseCounters reads the text format (Prometheus exposition formats, 0.0.4),
// adding up the series of one name: the lab asks for totals only.
func parseCounters(r io.Reader) (counters, error) {
	out := counters{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		var name, rest string
		if open := strings.IndexByte(text, '{'); open >= 0 {
			end := strings.LastIndexByte(text, '}')
			if end < open {
				return nil, fmt.Errorf("scrape: line %q", text)
			}
			name, rest = text[:open], text[end+1:]
		} else {
			name, rest, _ = strings.Cut(text, " ")
		}
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			return nil, fmt.Errorf("scrape: line %q has no value", text)
		}
		v, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return nil, fmt.Errorf("scrape: line %q: %w", text, err)
		}
		out[name] += v
	}
	return out, lines.Err()
}
