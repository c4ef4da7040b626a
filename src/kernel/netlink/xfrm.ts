/** IPsec in the kernel (ip-xfrm(8), include/uapi/linux/xfrm.h). */

import { NetlinkError } from './answer.ts'
import { SystemCallError } from './libc.ts'
import { withSocket } from './socket.ts'
import type { MessageWriter } from './writer.ts'

const getPolicy = 0x15
/** `struct xfrm_userpolicy_id`. */
const headerLength = 64

/** Whether there are IPsec policies; undefined where this process may not read them (CAP_NET_ADMIN). */
export function hasIpsecPolicies(): boolean | undefined {
  const request = { type: getPolicy, body: (writer: MessageWriter) => writer.raw(new Uint8Array(headerLength)) }
  try {
    return withSocket('xfrm', {}, socket => socket.dumpNow(request, () => true)).length > 0
  } catch (error) {
    // A kernel without IPsec.
    if (error instanceof SystemCallError && error.code === 'EPROTONOSUPPORT') return false
    if (error instanceof NetlinkError && error.code === 'EPERM') return undefined
    throw error
  }
}
