/**
 * Makes what ships: one bundle for the agent (with what it loads only when needed, and its threads, beside it) and its source maps.
 * Into dist, or into the directory given; what was there before goes.
 */

import { type Plugin, rolldown } from 'rolldown'

/** Kubernetes' client library sends its own requests by it, which nothing here makes: 1.6 MB of program. */
const withoutUndici: Plugin = {
  name: 'without-undici',
  resolveId: { filter: { id: /^undici$/ }, handler: id => `\0${id}` },
  load: { filter: { id: /^\0undici$/ }, handler: () => absentUndici },
}

const absentUndici = `
function absent() { throw new Error('undici is not in the bundle (tools/build.ts)') }
export { absent as Agent, absent as ProxyAgent, absent as fetch }
`

const bundle = await rolldown({
  input: {
    lightpath: 'src/cli.ts',
    'manifest-worker': 'src/sources/manifests/worker.ts',
    'review-worker': 'src/webhook/worker.ts',
  },
  platform: 'node',
  // Written to take native modules where they are installed, none of which is; and gRPC's channelz, which nobody asks for.
  external: ['bufferutil', 'utf-8-validate', '@grpc/proto-loader'],
  plugins: [withoutUndici],
  // Of Kubernetes' client library only credentials and exec are used, not a class for each kind of object.
  treeshake: { moduleSideEffects: [{ test: /@kubernetes\/client-node/, sideEffects: false }] },
  logLevel: 'warn',
})
await bundle.write({
  dir: process.argv[2] ?? 'dist',
  cleanDir: true,
  format: 'esm',
  sourcemap: true,
  // V8 keeps the program's text: a byte a character where all are ASCII, else two.
  charset: 'ascii',
  minify: { mangle: false, compress: false, codegen: true },
})
await bundle.close()
