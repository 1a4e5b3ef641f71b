// A filter in standard Go against the bare ABI: the Go SDK is in no registry that builds are made from here. What the kit
// wants of it is Go's own: its runtime, collector and scheduler in a reactor module, and the WASI functions that they and os
// import; net/http imports the same, and would make the module three times as large.
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o go-headers.wasm
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io/fs"
	"os"
	"syscall"
	"unsafe"
)

const (
	requestHeaders  = 0
	responseHeaders = 2
	responseBody    = 1
	pluginConfig    = 7
)

//go:wasmimport env proxy_log
func proxyLog(level uint32, text unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_get_buffer_bytes
func proxyGetBuffer(kind, start, length uint32, data, size unsafe.Pointer) uint32

//go:wasmimport env proxy_set_buffer_bytes
func proxySetBuffer(kind, start, length uint32, data unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_get_header_map_pairs
func proxyGetPairs(kind uint32, data, size unsafe.Pointer) uint32

//go:wasmimport env proxy_add_header_map_value
func proxyAdd(kind uint32, name unsafe.Pointer, nameSize uint32, value unsafe.Pointer, valueSize uint32) uint32

// What the host has been given to write to, until it is read.
var given = map[uint32][]byte{}

var greeting string

func main() {}

func pointer(bytes []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(bytes)) }

func size(bytes []byte) uint32 { return uint32(len(bytes)) }

// What a host function answers by pointer and size.
func taken(status, data, length uint32) []byte {
	bytes := given[data]
	delete(given, data)
	if status != 0 || length == 0 {
		return nil
	}
	return bytes[:length]
}

func buffer(kind, length uint32) []byte {
	var data, size uint32
	status := proxyGetBuffer(kind, 0, length, unsafe.Pointer(&data), unsafe.Pointer(&size))
	return taken(status, data, size)
}

// The fields of a map: a count, sizes, then names and values with a zero behind each.
func pairs(kind uint32) [][2]string {
	var data, size uint32
	status := proxyGetPairs(kind, unsafe.Pointer(&data), unsafe.Pointer(&size))
	all := taken(status, data, size)
	if len(all) < 4 {
		return nil
	}
	count := binary.LittleEndian.Uint32(all)
	at := 4 + 8*count
	fields := make([][2]string, count)
	for number := range fields {
		for part := range fields[number] {
			length := binary.LittleEndian.Uint32(all[4+8*number+4*part:])
			fields[number][part] = string(all[at : at+length])
			at += length + 1
		}
	}
	return fields
}

func add(kind uint32, name, value string) {
	proxyAdd(kind, unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)), unsafe.Pointer(unsafe.StringData(value)), uint32(len(value)))
}

func hex(number uint32) string {
	var digits [8]byte
	for place := range digits {
		digits[place] = "0123456789abcdef"[number>>(28-4*place)&15]
	}
	return string(digits[:])
}

// What WASI said to the last that was tried with files, the numbers one behind the other.
func tried(errs ...error) string {
	var numbers []byte
	for _, err := range errs {
		var number syscall.Errno
		errors.As(err, &number)
		numbers = append(numbers, ' ', '0'+byte(number/10), '0'+byte(number%10))
	}
	return string(numbers)
}

func log(text string) { proxyLog(2, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text))) }

//go:wasmexport proxy_abi_version_0_2_1
func abiVersion() {}

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) unsafe.Pointer {
	bytes := make([]byte, size)
	given[uint32(uintptr(pointer(bytes)))] = bytes
	return pointer(bytes)
}

//go:wasmexport proxy_on_context_create
func contextCreate(context, root uint32) {}

//go:wasmexport proxy_on_vm_start
func vmStart(root, size uint32) uint32 {
	// A goroutine and standard error.
	done := make(chan uint32)
	go func() { done <- 1 }()
	println("kit go starts")
	return <-done
}

//go:wasmexport proxy_on_configure
func configure(root, size uint32) uint32 {
	greeting = string(buffer(pluginConfig, size))
	_, read := os.ReadFile("/etc/rules.conf")
	_, stat := os.Stat("/etc/rules.conf")
	_, list := os.ReadDir("/etc")
	_, link := os.Readlink("/etc/rules.conf")
	if errors.Is(read, fs.ErrNotExist) {
		log("kit go has no rules:" + tried(read, stat, list, link))
	}
	log("kit go changes nothing:" + tried(os.Mkdir("/x", 0o700), os.Rename("/x", "/y"), os.Remove("/x"), os.Stderr.Sync()))
	return 1
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(context, count, end uint32) uint32 {
	for _, field := range pairs(requestHeaders) {
		if field[0] == ":path" {
			sum := fnv.New32a()
			sum.Write([]byte(field[1]))
			add(requestHeaders, "x-kit-path-sum", hex(sum.Sum32()))
		}
	}
	return 0
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(context, count, end uint32) uint32 {
	add(responseHeaders, "x-kit-go", greeting)
	return 0
}

//go:wasmexport proxy_on_response_body
func onResponseBody(context, length, end uint32) uint32 {
	if body := bytes.ToUpper(buffer(responseBody, length)); len(body) > 0 {
		proxySetBuffer(responseBody, 0, length, pointer(body), size(body))
	}
	return 0
}

//go:wasmexport proxy_on_done
func onDone(context uint32) uint32 { return 1 }

//go:wasmexport proxy_on_log
func onLog(context uint32) { log("kit go is done, buffers out: " + hex(uint32(len(given)))) }

//go:wasmexport proxy_on_delete
func onDelete(context uint32) {}
