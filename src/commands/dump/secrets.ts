/** Cuts secrets from texts that leave the node. */

const cut = '[cut]'

const secretKey = String.raw`[\w-]*(?:authorization|cookie|password|passwd|secret|token|api[-_]?key|client-key-data)[\w-]*`

/**
 * Returns the text without credentials: private keys (PEM), tokens after `Bearer` or `Basic`, JSON web tokens, user and
 * password of URLs, and the values of names such as authorization, cookie, password, secret, token and api-key, in JSON
 * (`"token": "…"`), of headers in Envoy's JSON (`"key": "cookie", "value": "…"`) and in YAML or flags (`token: …`,
 * `token=…`).
 */
export function withoutSecrets(text: string): string {
  return text
    .replace(/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, cut)
    .replace(/\b(Bearer|Basic)\s+[\w.~+/=-]{6,}/gi, `$1 ${cut}`)
    .replace(/\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, cut)
    .replace(/(\w:\/\/)[^\s/@"']+:[^\s/@"']+@/g, `$1${cut}@`)
    .replace(new RegExp(`("${secretKey}"\\s*:\\s*)"(?:[^"\\\\]|\\\\.)*"`, 'gi'), `$1"${cut}"`)
    .replace(
      new RegExp(`("(?:key|name)"\\s*:\\s*"${secretKey}"\\s*,\\s*"value"\\s*:\\s*)"(?:[^"\\\\]|\\\\.)*"`, 'gi'),
      `$1"${cut}"`,
    )
    .replace(new RegExp(`((?:^|[\\s,;-])${secretKey}\\s*[:=][ \\t]*)(?!\\[cut)[^\\s"',;{[]+`, 'gim'), `$1${cut}`)
}
