package shop;

import java.util.List;
import java.util.stream.Collectors;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.client.discovery.DiscoveryClient;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;

/** A service that registers by Spring Cloud Consul, and says whom it discovers. */
@SpringBootApplication
@RestController
public class Shop {
  private final DiscoveryClient discovery;

  public Shop(DiscoveryClient discovery) {
    this.discovery = discovery;
  }

  @GetMapping("/services")
  public List<String> services() {
    return discovery.getServices().stream().sorted().collect(Collectors.toList());
  }

  @GetMapping("/instances/{service}")
  public List<String> instances(@PathVariable("service") String service) {
    return discovery.getInstances(service).stream()
        .map(instance -> instance.getInstanceId() + "=" + instance.getHost() + ":" + instance.getPort()
            + instance.getMetadata().getOrDefault("zone", ""))
        .sorted()
        .collect(Collectors.toList());
  }

  public static void main(String[] args) {
    SpringApplication.run(Shop.class, args);
  }
}
