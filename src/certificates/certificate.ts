/** X.509 certificates (RFC 5280), which Node can read but not make: a throw-away authority and one server certificate of it. */

import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'

/** A certificate and its key, PEM. */
export interface Served {
  readonly certificate: string
  readonly key: string
}

/** Makes what looks after a certificate; it tells which is to be served from then on. */
export type Certificates = (use: (served: Served) => void) => () => Promise<void>

export interface ServerCertificate extends Served {
  /** Of the authority, whose key was thrown away: nothing else can ever be signed with it. PEM. */
  readonly authority: string
}

/**
 * @param names DNS names and dotted IPv4 addresses, by which clients reach the server
 * @param from the first moment at which both certificates are valid
 * @param to the last
 */
export function makeServerCertificate(names: readonly string[], from: Date, to: Date): ServerCertificate {
  const authority = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const server = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  // The name is new each time, so that a client with several authorities never tries the wrong one.
  const issuer = `lightpath ${randomBytes(8).toString('hex')}`
  const signed = (subject: string, key: KeyObject, extensions: readonly Buffer[]) =>
    pem(certificate({ issuer, subject, from, to, publicKey: key, extensions }, authority.privateKey))
  return {
    authority: signed(issuer, authority.publicKey, [
      extension(basicConstraints, sequence(boolean)),
      extension(keyUsage, bits(2, 0b00000100)), // keyCertSign
    ]),
    certificate: signed('lightpath', server.publicKey, [
      extension(keyUsage, bits(7, 0b10000000)), // digitalSignature
      extension(extendedKeyUsage, sequence(identifier(serverAuth))),
      extension(subjectAltName, sequence(...names.map(generalName))),
    ]),
    key: server.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

interface Content {
  readonly issuer: string
  readonly subject: string
  readonly from: Date
  readonly to: Date
  readonly publicKey: KeyObject
  readonly extensions: readonly Buffer[]
}

// Object identifiers, by their bytes.
const ecdsaWithSha256 = '2a8648ce3d040302'
const commonName = '550403'
const keyUsage = '551d0f'
const subjectAltName = '551d11'
const basicConstraints = '551d13'
const extendedKeyUsage = '551d25'
const serverAuth = '2b06010505070301'

const boolean = der(0x01, Buffer.from([0xff]))

function certificate(content: Content, signer: KeyObject): Buffer {
  const algorithm = sequence(identifier(ecdsaWithSha256))
  // A leading 0x40 keeps the number positive and its length fixed.
  const serial = der(0x02, Buffer.from([0x40]), randomBytes(15))
  const toSign = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))), // version 3
    serial,
    algorithm,
    name(content.issuer),
    sequence(time(content.from), time(content.to)),
    name(content.subject),
    content.publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...content.extensions)),
  )
  return sequence(toSign, algorithm, der(0x03, Buffer.from([0]), sign('sha256', toSign, signer)))
}

/** All of ours are critical: a client that does not know them must not go on. */
function extension(id: string, value: Buffer): Buffer {
  return sequence(identifier(id), boolean, der(0x04, value))
}

function name(text: string): Buffer {
  return sequence(der(0x31, sequence(identifier(commonName), der(0x0c, Buffer.from(text)))))
}

function generalName(text: string): Buffer {
  const isIPv4 = /^\d+(\.\d+){3}$/.test(text)
  return isIPv4 ? der(0x87, Buffer.from(text.split('.').map(Number))) : der(0x82, Buffer.from(text))
}

/** GeneralizedTime from 2050 on, UTCTime before, as RFC 5280 wants. */
function time(date: Date): Buffer {
  const digits = `${date.toISOString().replace(/\D/g, '').slice(0, 14)}Z`
  return date.getUTCFullYear() < 2050 ? der(0x17, Buffer.from(digits.slice(2))) : der(0x18, Buffer.from(digits))
}

function bits(unused: number, byte: number): Buffer {
  return der(0x03, Buffer.from([unused, byte]))
}

function identifier(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, 'hex'))
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, ...parts)
}

/** Tag, length, content. */
function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const head =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from(head), content])
}

function pem(bytes: Buffer): string {
  const lines = bytes.toString('base64').replace(/.{64}(?=.)/g, '$&\n')
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`
}
