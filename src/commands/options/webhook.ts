/** The webhook. */

import type { Definition } from './definition.ts'
import { names, path, portNumber, text } from './values.ts'

export const webhookOptions = {
  webhookAddress: {
    ...text,
    description: 'address on which the webhook listens',
    default: undefined as string | undefined,
    defaultText: 'all addresses, IPv4 and IPv6',
  },
  webhookPort: { ...portNumber, description: 'port of the webhook, and of its /healthz', default: 9443 },
  certificate: {
    ...path,
    description:
      "directory with tls.crt and tls.key for the webhook, such as cert-manager's; read again when they change. caBundle of the webhook configuration is then left to whoever makes them",
    default: undefined as string | undefined,
    defaultText: 'one of its own, kept in the Secret lightpath-webhook',
  },
  clientAuthorities: {
    ...path,
    description:
      'file with certificates (PEM) of authorities, one of which has to have signed the certificate of whoever asks the webhook; read again when it changes',
    default: undefined as string | undefined,
    defaultText: 'none: whoever can reach the webhook may ask',
  },
  clientNames: {
    ...names,
    description: 'common names, one of which that certificate has to have',
    default: [] as readonly string[],
    defaultText: 'any',
  },
} satisfies Record<string, Definition<unknown>>
