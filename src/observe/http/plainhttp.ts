/**
 * Exports what the agent uses of node:http. An import of node:http itself reads all that it exports, and so loads its
 * WebSocket, with all of undici: 4 MB.
 */

export const { createServer, get } = process.getBuiltinModule('node:http')
