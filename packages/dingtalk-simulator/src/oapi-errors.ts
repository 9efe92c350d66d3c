import type { Reply } from './reply.ts';

/**
 * The error answers of oapi.dingtalk.com: always HTTP 200, `{errcode, errmsg}`. A comment names the row of the
 * protocol reference; `%s` stands where the reference gives no text.
 */
const fixtures = {
  // Section 6.4, row -1 "busy".
  'oapi.-1': { errcode: -1, errmsg: '%s' },
  // Section 6.4, row 88 + sub_code, the sample body.
  'oapi.88': {
    errcode: 88,
    sub_code: '60011',
    sub_msg: '没有调用该接口的权限',
    errmsg: 'ding talk error[subcode=60011,submsg=没有调用该接口的权限]',
    request_id: 'simulated',
  },
  // Section 6.4, row 40014 / 42001 / 40001 / 41001; section 4 for 40089.
  'oapi.40014': { errcode: 40014, errmsg: '不合法的access_token' },
  'oapi.42001': { errcode: 42001, errmsg: '%s' },
  'oapi.40001': { errcode: 40001, errmsg: '%s' },
  'oapi.41001': { errcode: 41001, errmsg: '%s' },
  'oapi.40089': { errcode: 40089, errmsg: '%s' },
  // Section 6.4, row 40035.
  'oapi.40035.json': { errcode: 40035, errmsg: '缺少参数 json' },
  'oapi.40035.access_token': { errcode: 40035, errmsg: '缺少参数 access_token' },
  // Section 6.4, row 40004 … 40008.
  'oapi.40008': { errcode: 40008, errmsg: '%s' },
  // Section 6.4, row 43002.
  'oapi.43002': { errcode: 43002, errmsg: '需要POST请求' },
  // Section 6.4, row 43004; section 5.2.
  'oapi.43004': { errcode: 43004, errmsg: '%s' },
  // Section 6.4, row 60020.
  'oapi.60020': { errcode: 60020, errmsg: '%s' },
  // Section 6.4, row 33012; the look-up of a person answers 60121 ("query user details", error codes).
  'oapi.33012': { errcode: 33012, errmsg: '无效的USERID' },
  'oapi.60121': { errcode: 60121, errmsg: '找不到该用户' },
  // Section 6.4, rows 90002, 90018, 90020.
  'oapi.90002': { errcode: 90002, errmsg: '%s' },
  'oapi.90018': { errcode: 90018, errmsg: '%s' },
  'oapi.90020': { errcode: 90020, errmsg: '%s' },
  // Section 6.1, first row.
  'oapi.130101': { errcode: 130101, errmsg: 'send too fast, exceed 20 times per minute' },
  'oapi.410100': { errcode: 410100, errmsg: '%s' },
  // Section 6.2, "webhook body".
  'oapi.460101': { errcode: 460101, errmsg: 'message too long, exceed 20000 bytes' },
  'oapi.101002': { errcode: 101002, errmsg: '%s' },
  // Section 5.1 "Expired/unknown session" and section 6.4, row 300001.
  'oapi.300001.session': { errcode: 300001, errmsg: 'session 不存在' },
  'oapi.300001.token': { errcode: 300001, errmsg: 'token is not exist' },
  // Section 6.4, row 300005.
  'oapi.300005': { errcode: 300005, errmsg: 'token is not exist' },
  // Section 5.2, security settings table.
  'oapi.310000.keywords': { errcode: 310000, errmsg: 'keywords not in content' },
  'oapi.310000.sign': { errcode: 310000, errmsg: 'sign not match' },
  'oapi.310000.timestamp': { errcode: 310000, errmsg: 'invalid timestamp' },
  // Section 6.4, rows 400013, 400101 400102 400106, 400105.
  'oapi.400013': { errcode: 400013, errmsg: '%s' },
  'oapi.400101': { errcode: 400101, errmsg: '%s' },
  'oapi.400102': { errcode: 400102, errmsg: '%s' },
  'oapi.400105': { errcode: 400105, errmsg: '%s' },
  'oapi.400106': { errcode: 400106, errmsg: '%s' },
  // Section 6.4, row 430101 … 430104.
  'oapi.430101': { errcode: 430101, errmsg: '%s' },
  'oapi.430102': { errcode: 430102, errmsg: '%s' },
} as const satisfies Record<string, { errcode: number; errmsg: string } & Record<string, unknown>>;

export type OapiErrorName = keyof typeof fixtures;

// Object.keys widens to string[]; the table above is closed, so its keys are exactly these names.
export const oapiFixtureNames = Object.keys(fixtures) as OapiErrorName[];

/** The refusal `name` of oapi.dingtalk.com. */
export function oapiError(name: OapiErrorName): Reply {
  const body = fixtures[name];
  return { status: 200, body, outcome: `${body.errcode} ${body.errmsg}` };
}

/** Section 5.2, IP row: the text names the caller's address. */
export function oapiIpRefused(ip: string): Reply {
  const errmsg = `ip ${ip} not in whitelist`;
  return { status: 200, body: { errcode: 310000, errmsg }, outcome: `310000 ${errmsg}` };
}

/** A named fixture of this table, or undefined when the name belongs to another table. */
export function findOapiFixture(name: string): Reply | undefined {
  const known = oapiFixtureNames.find((fixture) => fixture === name);
  return known === undefined ? undefined : oapiError(known);
}

/** The legacy success body (section 5.1, "Result"). */
export const oapiOk = { errcode: 0, errmsg: 'ok' } as const;
