package core

// Message is one protobuf message as core sees it: full name and binary form. Data belongs to the
// receiver once passed.
type Message struct {
	Type string // "cluster.ActivationRequest"
	Data []byte
}
