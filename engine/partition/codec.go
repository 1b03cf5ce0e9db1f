package partition

// Compression codes of a batch's attributes. Source: Kafka's CompressionType.
const (
	codecNone int16 = iota
	codecGzip
	codecSnappy
	codecLZ4
	codecZstd
)
