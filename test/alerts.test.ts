import { describe, expect, it } from '@jest/globals';
import { createMetrics } from '@steward/service-kit';
import { parse } from 'yaml';
import { z } from 'zod';
import { listFiles, readSources, readText, toAnchor } from './read-docs.ts';

const said = z.string().min(20).max(200);
const ruleSchema = z.strictObject({
  alert: z.string().regex(/^[A-Z][A-Za-z]+$/),
  expr: z.string(),
  for: z.string().optional(),
  labels: z.strictObject({ severity: z.enum(['page', 'warning']), job: z.string().optional() }),
  annotations: z.strictObject({ summary: said, runbook: z.string().regex(/^docs\/runbook\.md#[a-z0-9-]+$/) }),
});
const rulesSchema = z.strictObject({
  groups: z.array(z.strictObject({ name: z.string(), rules: z.array(ruleSchema) })),
});
const alerts = rulesSchema
  .parse(parse(readText('deploy/monitoring/alerts.yml')))
  .groups.flatMap(({ rules }) => rules.map((rule) => [rule.alert, rule] as const));

/** Name to labels of every metric that the code declares. */
const declared = new Map(
  [
    ...readSources().matchAll(
      /\.?(?:counter|gauge|histogram)\(\s*'(steward_\w+)',\s*(?:'[^']*'|\w+),?\s*(\[[^\]]*\]|\w+)?/g,
    ),
  ].map(([, name = '', labels = '']) => [name, [...labels.matchAll(/'(\w+)'/g)].map(([, label = '']) => label)]),
);
// The one histogram whose labels have a name.
declared.set('steward_http_request_seconds', ['method', 'route', 'status']);

const ofHistogram = /_(?:bucket|count|sum)$/;
const withoutPart = (name: string) => (declared.has(name) ? name : name.replace(ofHistogram, ''));

describe.each(alerts)('the alert %s', (name, { expr, annotations }) => {
  it('asks only for metrics that the services declare', () => {
    const asked = [...expr.matchAll(/\bsteward_\w+/g)].map(([metric]) => withoutPart(metric));
    expect(asked.filter((metric) => !declared.has(metric))).toEqual([]);
  });

  it('asks only for labels that those metrics have', () => {
    const selectors = [...expr.matchAll(/\b(steward_\w+)\{([^}]*)\}/g)];
    const unknown = selectors.flatMap(([, metric = '', matchers = '']) =>
      [...matchers.matchAll(/(\w+)\s*[=!]/g)]
        .map(([, label = '']) => label)
        .filter((label) => label !== 'job' && !declared.get(withoutPart(metric))?.includes(label)),
    );
    expect(unknown).toEqual([]);
  });

  it('asks only for what Node’s own metrics are called', async () => {
    const own = await createMetrics('any').registry.metrics();
    const asked = [...expr.matchAll(/\b(?:process|nodejs)_\w+/g)].map(([metric]) => metric);
    expect(asked.filter((metric) => !own.includes(`# TYPE ${metric} `))).toEqual([]);
  });

  it('leads to a heading of the runbook', () => {
    const headings = [...readText('docs/runbook.md').matchAll(/^## (.*)$/gm)].map(([, heading = '']) =>
      toAnchor(heading),
    );
    expect(headings).toContain(annotations.runbook.split('#')[1]);
  });

  it('has a case in which it fires and one in which it does not', () => {
    const casesSchema = z.object({
      tests: z.array(
        z.object({ alert_rule_test: z.array(z.object({ alertname: z.string(), exp_alerts: z.array(z.unknown()) })) }),
      ),
    });
    const cases = listFiles('deploy/monitoring/*.test.yml')
      .flatMap((file) => casesSchema.parse(parse(readText(file))).tests)
      .flatMap(({ alert_rule_test: looks }) => looks)
      .filter(({ alertname }) => alertname === name);
    expect(new Set(cases.map(({ exp_alerts: expected }) => expected.length > 0))).toEqual(new Set([true, false]));
  });
});

describe('the alerts', () => {
  it('are each called differently, and are read as they are written', () => {
    expect(new Set(alerts.map(([name]) => name)).size).toBe(alerts.length);
    expect(alerts.length).toBeGreaterThan(30);
    expect(declared.size).toBeGreaterThan(30);
  });

  it('know the memory that the compose file gives to our services', () => {
    const [, limit] = /^x-steward:[\s\S]*?^ {2}mem_limit: (\d+)m$/m.exec(readText('docker-compose.yml')) ?? [];
    expect(readText('deploy/monitoring/alerts.yml')).toContain(`0.85 * ${String(limit)} * 1024 * 1024`);
  });

  it('are all named, and nothing else, where one keeps another from being told', () => {
    const named = [...readText('deploy/monitoring/alertmanager.yml').matchAll(/alertname!?=~?"([^"]*)"/g)];
    const unknown = named
      .flatMap(([, names = '']) => names.split('|'))
      .filter((one) => !alerts.some(([name]) => name === one));
    expect(unknown).toEqual([]);
    expect(named.length).toBeGreaterThan(5);
  });
});
