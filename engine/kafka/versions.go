package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// API keys that code names; all of them stand in the table below.
const (
	keyProduce     = 0
	keyFetch       = 1
	keyApiVersions = 18

	apiKeyMax = 60
)

// api is one row of the table of what is served.
type api struct {
	name     string
	min, max int16
	// flexible is the first version with compact lengths and tagged fields.
	flexible int16
	// shape describes the request, so that it can be checked before kmsg decodes
	// it; handle answers it on the connection's writer. Both nil for Produce and
	// Fetch, which have codecs of their own.
	shape  []field
	handle func(c *conn, req kmsg.Request) kmsg.Response
}

// apis is the table by API key; rows without a name are not served. From
// Kafka 4.0's floor (KIP-896) to the newest version whose every field is
// honoured; the background study engine-anchors 6.2 has the sources.
//
// Produce is advertised from version 0 and served from 3, as Kafka 4.0 does for
// the sake of librdkafka before 2.8 (KAFKA-18659).
var apis [apiKeyMax + 1]api

func init() {
	apis = [apiKeyMax + 1]api{
		keyProduce:     {name: "Produce", min: 3, max: 13, flexible: 9},
		keyFetch:       {name: "Fetch", min: 4, max: 18, flexible: 12},
		2:              {"ListOffsets", 1, 10, 6, shapeListOffsets, handleListOffsets},
		3:              {"Metadata", 0, 13, 9, shapeMetadata, handleMetadata},
		keyApiVersions: {"ApiVersions", 0, 4, 3, shapeApiVersions, handleApiVersions},
		19:             {"CreateTopics", 2, 7, 5, shapeCreateTopics, handleCreateTopics},
		20:             {"DeleteTopics", 1, 6, 4, shapeDeleteTopics, handleDeleteTopics},
		21:             {"DeleteRecords", 0, 2, 2, shapeDeleteRecords, handleDeleteRecords},
		22:             {"InitProducerId", 0, 5, 2, shapeInitProducerID, handleInitProducerID},
		23:             {"OffsetForLeaderEpoch", 2, 4, 4, shapeEpochEnd, handleEpochEnd},
		32:             {"DescribeConfigs", 1, 4, 4, shapeDescribeConfigs, handleDescribeConfigs},
		37:             {"CreatePartitions", 0, 3, 2, shapeCreatePartitions, handleCreatePartitions},
		43:             {"ElectLeaders", 0, 2, 2, shapeElectLeaders, handleElectLeaders},
		44:             {"IncrementalAlterConfigs", 0, 1, 1, shapeAlterConfigs, handleAlterConfigs},
		45:             {"AlterPartitionReassignments", 0, 1, 0, shapeAlterReassignments, handleAlterReassignments},
		46:             {"ListPartitionReassignments", 0, 0, 0, shapeListReassignments, handleListReassignments},
		60:             {"DescribeCluster", 0, 2, 0, shapeDescribeCluster, handleDescribeCluster},
	}
}

// served says whether a request of this key and version is answered. Every
// version of ApiVersions is: see handleApiVersions. Negative versions are not:
// they cannot be told from garbage.
//
// Kafka closes the connection for all others, too: SocketServer's
// parseRequestHeader throws InvalidRequestException, processException closes
// the channel. So Produce 0 to 2, though advertised, end the connection.
func served(key, version int16) bool {
	if key < 0 || key > apiKeyMax || apis[key].name == "" {
		return false
	}
	if key == keyApiVersions {
		return version >= 0
	}
	return version >= apis[key].min && version <= apis[key].max
}
