package main

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"maps"
	"strings"
	"sync"
	"time"
)

const typePrefix = "type.googleapis.com/lightpath.facts.v1."

// What an agent subscribes to (src/facts/types.ts); Nodes and Pods are those of its own node.
var (
	sharedTypes = []string{"Namespace", "ServiceCIDR", "NetworkPolicy", "OtherPolicy", "Service", "EndpointSlice"}
	ownTypes    = []string{"Node", "Pod"}
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
	errNoFacts  = errors.New("not a response of a control plane")
)

// What one client was told. It is written by the client's stream and read at the end.
type factsState struct {
	// Called once, when everything has been told.
	complete func()

	mutex     sync.Mutex
	scopes    map[string]bool
	resources map[string]int
	hash      uint64
	bytes     int64
	completed time.Time
	told      []toldAt
}

type toldAt struct {
	key string
	at  time.Time
}

type factsSummary struct {
	resources map[string]int
	hash      uint64
	bytes     int64
	completed time.Time
}

// A new stream tells everything again.
func (state *factsState) begin() {
	state.mutex.Lock()
	defer state.mutex.Unlock()
	state.scopes = map[string]bool{}
	if state.completed.IsZero() {
		state.resources, state.hash = map[string]int{}, 0
	}
}

// Returns the acknowledgement; nil where the message takes none.
func (state *factsState) take(message []byte) ([]byte, error) {
	now := time.Now()
	state.mutex.Lock()
	defer state.mutex.Unlock()
	var typeURL, nonce []byte
	var resources [][]byte
	err := eachField(message, func(number uint64, value []byte) error {
		switch number {
		case 2:
			resources = append(resources, value)
		case 4:
			typeURL = value
		case 5:
			nonce = value
		}
		return nil
	})
	if err != nil || len(nonce) == 0 {
		return nil, err
	}
	kind := strings.TrimPrefix(string(typeURL), typePrefix)
	for _, resource := range resources {
		if err := state.takeResource(kind, resource, now); err != nil {
			return nil, err
		}
	}
	if state.completed.IsZero() {
		state.bytes += int64(len(message))
		if len(state.scopes) == len(sharedTypes)+len(ownTypes) {
			state.completed = now
			state.complete()
		}
	}
	return frame(field(field(nil, 2, typeURL), 6, nonce)), nil
}

func (state *factsState) takeResource(kind string, resource []byte, now time.Time) error {
	var version, name string
	err := eachField(resource, func(number uint64, value []byte) error {
		switch number {
		case 1:
			version = string(value)
		case 3:
			name = string(value)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case strings.HasSuffix(name, "*") || strings.HasPrefix(name, "node:"):
		state.scopes[kind] = true
	case !state.completed.IsZero():
		state.told = append(state.told, toldAt{name + "@" + version, now})
	default:
		state.resources[kind]++
		if kind != "Node" && kind != "Pod" {
			// A sum does not depend on the order.
			state.hash += uint64(crc32.Checksum(resource, castagnoli))
		}
	}
	return nil
}

func (state *factsState) summary() factsSummary {
	state.mutex.Lock()
	defer state.mutex.Unlock()
	return factsSummary{maps.Clone(state.resources), state.hash, state.bytes, state.completed}
}

// What was told after everything had been.
func (state *factsState) later() []toldAt {
	state.mutex.Lock()
	defer state.mutex.Unlock()
	return state.told
}

// The first requests of a stream.
func subscriptions(node string) []byte {
	id := field(nil, 1, field(nil, 1, []byte(node)))
	var requests []byte
	subscribe := func(kind, scope string) {
		requests = append(requests, frame(field(field(id, 2, []byte(typePrefix+kind)), 3, []byte(scope)))...)
	}
	for _, kind := range sharedTypes {
		subscribe(kind, "*")
	}
	for _, kind := range ownTypes {
		subscribe(kind, "node:"+node)
	}
	return requests
}

// A message of gRPC with its prefix, uncompressed.
func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

func readMessage(reader io.Reader, buffer []byte) ([]byte, error) {
	var prefix [5]byte
	if _, err := io.ReadFull(reader, prefix[:]); err != nil {
		return nil, err
	}
	length := int(binary.BigEndian.Uint32(prefix[1:]))
	if cap(buffer) < length {
		buffer = make([]byte, length)
	}
	buffer = buffer[:length]
	_, err := io.ReadFull(reader, buffer)
	return buffer, err
}

// Appends a field of bytes, in a slice of its own.
func field(to []byte, number uint64, value []byte) []byte {
	to = binary.AppendUvarint(to[:len(to):len(to)], number<<3|2)
	return append(binary.AppendUvarint(to, uint64(len(value))), value...)
}

// Calls visit with each field of bytes; there are no others.
func eachField(message []byte, visit func(number uint64, value []byte) error) error {
	for len(message) > 0 {
		tag, tagLength := binary.Uvarint(message)
		if tagLength <= 0 || tag&7 != 2 {
			return errNoFacts
		}
		length, lengthLength := binary.Uvarint(message[tagLength:])
		start := tagLength + lengthLength
		if lengthLength <= 0 || uint64(len(message)-start) < length {
			return errNoFacts
		}
		if err := visit(tag>>3, message[start:start+int(length)]); err != nil {
			return err
		}
		message = message[start+int(length):]
	}
	return nil
}
