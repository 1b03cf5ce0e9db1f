package kafka

// kind is the wire type of one field of a request.
type kind uint8

const (
	kindI8 kind = iota // int8 and bool
	kindI16
	kindI32
	kindI64
	kindUUID
	kindString
	kindNullString
	kindArray     // of of; not null
	kindNullArray // of of
)

// field is one field of a request, present in versions from min on and, where
// gone is not 0, below gone.
type field struct {
	kind      kind
	min, gone int16
	of        []field // elements of an array: structures, or one bare field
	bare      bool    // the elements are of[0] themselves, without tags
}

// elementsMax bounds the array elements of one request together: decoded they
// take a few hundred bytes each at most.
const elementsMax = 200_000

// checkShape says whether body is a whole request of the shape: every length
// within what is there, nothing left over, a bounded number of elements. kmsg
// decodes only what passed. It is needed because kmsg believes the number of
// tagged fields: six bytes that announce four billion keep it in a loop for
// seconds (v1.15.0, internalReadTags).
func checkShape(shape []field, version int16, flexible bool, body []byte) bool {
	w := shapeWalker{dec: dec{b: body}, version: version, flexible: flexible}
	w.fields(shape)
	w.tags(flexible)
	return !w.bad && len(w.b) == 0 && w.elements <= elementsMax
}

type shapeWalker struct {
	dec
	version  int16
	flexible bool
	elements int
}

func (w *shapeWalker) fields(fs []field) {
	for i := range fs {
		f := &fs[i]
		if w.version >= f.min && (f.gone == 0 || w.version < f.gone) {
			w.field(f)
		}
	}
}

func (w *shapeWalker) field(f *field) {
	switch f.kind {
	case kindI8:
		w.span(1)
	case kindI16:
		w.span(2)
	case kindI32:
		w.span(4)
	case kindI64:
		w.span(8)
	case kindUUID:
		w.span(16)
	case kindString:
		w.str(w.flexible)
	case kindNullString:
		w.nullable(w.flexible)
	case kindArray, kindNullArray:
		w.array(f)
	}
}

func (w *shapeWalker) array(f *field) {
	n := w.count(w.flexible, 1)
	if n < 0 && f.kind == kindArray {
		w.fail()
	}
	w.elements += max(n, 0)
	for ; n > 0 && !w.bad && w.elements <= elementsMax; n-- {
		w.fields(f.of)
		if !f.bare {
			w.tags(w.flexible)
		}
	}
}

// Shorthands for the shapes.
func array(of ...field) field       { return field{kind: kindArray, of: of} }
func nullArray(of ...field) field   { return field{kind: kindNullArray, of: of} }
func list(k kind) field             { return field{kind: kindArray, of: []field{{kind: k}}, bare: true} }
func nullList(k kind) field         { return field{kind: kindNullArray, of: []field{{kind: k}}, bare: true} }
func is(k kind) field               { return field{kind: k} }
func (f field) from(v int16) field  { f.min = v; return f }
func (f field) until(v int16) field { f.gone = v; return f }
