import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;

/** `TomcatServer CONTENT DIRECTORY PORT:IDLE-MS...`; no time means Tomcat's own. */
public class TomcatServer extends HttpServlet {
  private final byte[] hello;
  private final byte[] big;

  TomcatServer(Path content) throws IOException {
    hello = Files.readAllBytes(content.resolve("hello"));
    big = Files.readAllBytes(content.resolve("big"));
  }

  @Override
  protected void service(HttpServletRequest request, HttpServletResponse answer) throws IOException {
    switch (request.getRequestURI()) {
      case "/hello" -> whole(answer, hello);
      case "/big" -> whole(answer, big);
      case "/echo" -> whole(answer, request.getInputStream().readAllBytes());
      case "/missing" -> no(answer, 404);
      default -> no(answer, 500);
    }
  }

  private static void whole(HttpServletResponse answer, byte[] body) throws IOException {
    answer.setContentLength(body.length);
    answer.getOutputStream().write(body);
  }

  private static void no(HttpServletResponse answer, int status) throws IOException {
    answer.setStatus(status);
    whole(answer, "no".getBytes());
  }

  public static void main(String[] args) throws Exception {
    Tomcat tomcat = new Tomcat();
    tomcat.setBaseDir(args[1]);
    for (int i = 2; i < args.length; i++) {
      String[] port = args[i].split(":", -1);
      Connector connector = new Connector();
      connector.setPort(Integer.parseInt(port[0]));
      if (!port[1].isEmpty()) connector.setProperty("keepAliveTimeout", port[1]);
      tomcat.getService().addConnector(connector);
    }
    var context = tomcat.addContext("", args[1]);
    Tomcat.addServlet(context, "all", new TomcatServer(Path.of(args[0])));
    context.addServletMappingDecoded("/", "all");
    tomcat.start();
    tomcat.getServer().await();
  }
}
