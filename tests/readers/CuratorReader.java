// What a program with Curator's x-discovery finds: `java -cp JARS CuratorReader.java HOSTS BASE NAME`. One line for each instance.

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.RetryOneTime;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.ServiceProvider;

public class CuratorReader {
    public static void main(String[] arguments) throws Exception {
        String hosts = arguments[0], base = arguments[1], name = arguments[2];
        try (CuratorFramework client = CuratorFrameworkFactory.newClient(hosts, new RetryOneTime(1000))) {
            client.start();
            try (ServiceDiscovery<Void> discovery =
                    ServiceDiscoveryBuilder.builder(Void.class).client(client).basePath(base).build()) {
                discovery.start();
                for (ServiceInstance<Void> one : discovery.queryForInstances(name)) {
                    show("found", one);
                }
                try (ServiceProvider<Void> provider = discovery.serviceProviderBuilder().serviceName(name).build()) {
                    provider.start();
                    show("provided", provider.getInstance());
                }
            }
        }
    }

    private static void show(String how, ServiceInstance<Void> one) {
        System.out.println(String.join(" ", how, one.getId(), one.getAddress(), String.valueOf(one.getPort()),
                one.getServiceType().toString(), String.valueOf(one.isEnabled())));
    }
}
