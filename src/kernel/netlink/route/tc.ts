/** What tc does to packets of an interface (tc(8), include/uapi/linux/pkt_cls.h, pkt_sched.h). */

import { NetlinkError } from '../answer.ts'
import type { NetlinkSocket } from '../socket.ts'

const getFilter = 46
/** Of a qdisc `clsact`, or `ingress`. */
const ingress = 0xffff_fff2

/** Whether packets that come in by the interface meet a filter. By a socket of protocol `route`. */
export function hasFilters(socket: NetlinkSocket, interfaceIndex: number): boolean {
  const header = Buffer.alloc(20)
  header.writeInt32LE(interfaceIndex, 4)
  header.writeUInt32LE(ingress, 12)
  try {
    return socket.dumpNow({ type: getFilter, body: writer => writer.raw(header) }, () => true).length > 0
  } catch (error) {
    // Without such a qdisc there is nothing to have filters.
    if (error instanceof NetlinkError && ['EINVAL', 'ENOENT'].includes(error.code)) return false
    throw error
  }
}
