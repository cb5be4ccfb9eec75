/** The small shop that tests of whole processes share: one Gateway on the declared port 80, and one origin. */
export function shopBase(originPort: number): string {
  return `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: front, namespace: shop }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ["*"] }]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: origin, namespace: shop }
spec:
  hosts: [origin.shop.local]
  resolution: STATIC
  ports: [{ number: 80, name: http, protocol: HTTP, targetPort: ${originPort} }]
  endpoints: [{ address: 127.0.0.1 }]
`;
}
