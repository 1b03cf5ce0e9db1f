package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ApiVersions (18): versions 0-4.
//
// Behaviour, after RequestContext.parseRequest and KafkaApis.
// handleApiVersionsRequest of Kafka 4.0: a version that is not known is
// answered in version 0 with UNSUPPORTED_VERSION and this API's own range (the
// whole list here, which clients take as well), without looking at the body.
// From version 3 the client's software name and version must be of
// [a-zA-Z0-9.-] and not empty: else INVALID_REQUEST. The reply has the old
// header in every version.
//
// Differs from Kafka: no features are told, there are none to agree on.
var shapeApiVersions = []field{is(kindString).from(3), is(kindString).from(3)}

func handleApiVersions(c *conn, r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.ApiVersionsRequest)
	resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
	switch {
	case req.Version > apis[keyApiVersions].max:
		resp.Version = 0
		resp.ErrorCode = c.fail(codeUnsupportedVersion)
	case req.Version >= 3 && !(softwareName(req.ClientSoftwareName) && softwareName(req.ClientSoftwareVersion)):
		resp.ErrorCode = c.fail(codeInvalidRequest)
		return resp
	}
	for key := range apis {
		a := &apis[key]
		if a.name == "" {
			continue
		}
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = int16(key), a.min, a.max
		if key == keyProduce {
			k.MinVersion = 0
		}
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	return resp
}

// softwareName follows the pattern of Kafka's ApiVersionsRequest:
// [a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?
func softwareName(s string) bool {
	if s == "" || !alnum(s[0]) || !alnum(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if !alnum(s[i]) && s[i] != '-' && s[i] != '.' {
			return false
		}
	}
	return true
}

func alnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
