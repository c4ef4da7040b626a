import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.function.Supplier;
import org.apache.hc.client5.http.classic.methods.HttpUriRequestBase;
import org.apache.hc.client5.http.config.RequestConfig;
import org.apache.hc.client5.http.impl.classic.HttpClients;
import org.apache.hc.core5.http.ContentType;
import org.apache.hc.core5.http.io.entity.ByteArrayEntity;
import org.apache.hc.core5.http.io.entity.EntityUtils;
import org.apache.hc.core5.http.io.entity.InputStreamEntity;

/** `JavaClients jdk UPLOAD URL...` and `JavaClients apache UPLOAD URL...`. */
public class JavaClients {
  record Answer(int status, byte[] body) {}

  enum Upload { NONE, SIZED, CHUNKED, EXPECTING }

  interface Client {
    Answer send(String method, String url, Upload upload) throws Exception;
  }

  public static void main(String[] args) throws Exception {
    byte[] body = Files.readAllBytes(Path.of(args[1]));
    Client client = args[0].equals("jdk") ? jdk(body) : apache(body);
    // The JDK's pool has connections still that a server of HTTP/1.0 is closing, and no POST is sent again.
    Supplier<Client> posting = args[0].equals("jdk") ? () -> jdk(body) : () -> client;
    for (int i = 2; i < args.length; i++) {
      String url = args[i];
      tell(client, url, "get", "GET", "/hello", Upload.NONE, 1);
      tell(client, url, "head", "HEAD", "/hello", Upload.NONE, 1);
      tell(posting.get(), url, "post", "POST", "/echo", Upload.SIZED, 1);
      tell(posting.get(), url, "chunked", "POST", "/echo", Upload.CHUNKED, 1);
      // The JDK's waits for ever for a server of HTTP/1.0 to say that it may go on.
      if (args[0].equals("apache")) tell(posting.get(), url, "continue", "POST", "/echo", Upload.EXPECTING, 1);
      tell(client, url, "kept", "GET", "/hello", Upload.NONE, 20);
      tell(client, url, "big", "GET", "/big", Upload.NONE, 1);
      tell(client, url, "missing", "GET", "/missing", Upload.NONE, 1);
      tell(client, url, "failing", "GET", "/failing", Upload.NONE, 1);
    }
    System.exit(0);
  }

  static void tell(Client client, String url, String operation, String method, String path, Upload upload, int times)
      throws Exception {
    MessageDigest sum = MessageDigest.getInstance("SHA-1");
    String status = "";
    String digest = "-";
    try {
      for (int i = 0; i < times; i++) {
        Answer answer = client.send(method, url + path, upload);
        sum.update(answer.body());
        status = String.valueOf(answer.status());
      }
      digest = HexFormat.of().formatHex(sum.digest());
    } catch (java.io.IOException error) {
      status = error.toString().replace(' ', '-');
    }
    System.out.println(url + " " + operation + " " + status + " " + digest);
  }

  /** As it is by default: with an offer to go over to HTTP/2. */
  static Client jdk(byte[] body) {
    HttpClient client = HttpClient.newHttpClient();
    return (method, url, upload) -> {
      var publisher = switch (upload) {
        case NONE -> HttpRequest.BodyPublishers.noBody();
        case CHUNKED -> HttpRequest.BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body));
        default -> HttpRequest.BodyPublishers.ofByteArray(body);
      };
      var request = HttpRequest.newBuilder(URI.create(url)).method(method, publisher);
      if (upload == Upload.EXPECTING) request.expectContinue(true);
      var answer = client.send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
      return new Answer(answer.statusCode(), answer.body());
    };
  }

  static Client apache(byte[] body) {
    var client = HttpClients.createDefault();
    return (method, url, upload) -> {
      var request = new HttpUriRequestBase(method, URI.create(url));
      if (upload == Upload.CHUNKED) {
        InputStream stream = new ByteArrayInputStream(body);
        request.setEntity(new InputStreamEntity(stream, ContentType.APPLICATION_OCTET_STREAM));
      } else if (upload != Upload.NONE) {
        request.setEntity(new ByteArrayEntity(body, ContentType.APPLICATION_OCTET_STREAM));
      }
      request.setConfig(RequestConfig.custom().setExpectContinueEnabled(upload == Upload.EXPECTING).build());
      return client.execute(request, answer -> {
        byte[] all = answer.getEntity() == null ? new byte[0] : EntityUtils.toByteArray(answer.getEntity());
        return new Answer(answer.getCode(), all);
      });
    };
  }
}
