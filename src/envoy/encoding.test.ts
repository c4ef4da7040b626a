import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ClusterSchema } from './api/envoy/config/cluster/v3/cluster_pb.js'
import { RouteSchema } from './api/envoy/config/route/v3/route_components_pb.js'
import { asField, encode, merge } from './encoding.ts'

const anyLength = fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 16_000, max: 17_000 }))
const anyText = fc.tuple(fc.constantFrom('a', 'é', '€', '😀'), anyLength).map(([char, length]) => char.repeat(length))

test('for all texts and messages, parts that are made fields encode as the whole', () => {
  const { name, altStatName } = ClusterSchema.field
  fc.assert(
    fc.property(anyText, anyText, (one, other) => {
      const parts = merge(asField(name, one), asField(altStatName, other))
      assert.ok(Buffer.from(encode(ClusterSchema, { name: one, altStatName: other })).equals(parts))
      const metadata = { filterMetadata: { [one]: { text: other } } }
      const whole = encode(RouteSchema, { metadata })
      const { message } = RouteSchema.field.metadata
      assert.ok(Buffer.from(whole).equals(asField(RouteSchema.field.metadata, encode(message!, metadata))))
    }),
  )
})
